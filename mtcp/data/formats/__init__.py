"""The formats of data sets on disk: folders, codings and packagings."""
