"""How data sets lie on disk: folders, codings and packagings."""
