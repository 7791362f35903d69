"""The HTML report in a real browser: no errors, no requests, charts drawn, tables that sort, both themes, a phone."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from made_up_store import make_store

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("chromium") is None or shutil.which("chromedriver") is None,
        reason="chromium and chromedriver are not installed",
    ),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of a made-up store, as a file URL."""
    from mtcp.analysis.tables import write_tables
    from mtcp.report.render import write_report

    folder = tmp_path_factory.mktemp("page")
    store = make_store(folder, range(3))
    store.write_all()
    store.write(store.plan.run("rooms", "uncertainty", 1), "diverged")
    write_tables(store.plan, "rooms")
    return write_report(folder, "rooms")[0].as_uri()


@pytest.fixture(scope="module")
def long_names(tmp_path_factory):
    """The same with a name that offers no place to break it."""
    from mtcp.analysis.tables import write_tables
    from mtcp.report.render import write_report

    folder = tmp_path_factory.mktemp("long")
    store = make_store(folder, range(2))
    store.write_all()
    write_tables(store.plan, "rooms")
    path = folder / "results/tables/rooms/methods.csv"
    methods = pd.read_csv(path)
    methods.loc[methods.method.isin(["uncertainty", "mtcp_no_cfm"]), "label"] += ", " + "withoutanend" * 12
    methods.to_csv(path, index=False)
    return write_report(folder, "rooms")[0].as_uri()


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def open_page(browser, page, width=1280, scheme="light"):
    from selenium.webdriver.support.ui import WebDriverWait

    feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("performance")
    browser.get(page)
    drawn = "return document.documentElement.dataset.drawn"
    WebDriverWait(browser, 60).until(lambda each: each.execute_script(drawn) == "yes")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_without_errors_or_requests(browser, page, width, scheme):
    open_page(browser, page, width, scheme)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("file:", "data:"))] == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    charts = browser.execute_script(
        "return [...document.querySelectorAll('.chart')].map(e => !!e.querySelector('svg'))"
    )
    assert len(charts) > 5
    assert all(charts)


def test_contrast_of_text_in_both_themes(browser, page):
    """Body and muted text against the page, by the luminance ratio of WCAG (at least 4.5)."""
    for scheme in ("light", "dark"):
        open_page(browser, page, scheme=scheme)
        for selector in ("body", ".muted", ".badge.inconclusive"):
            colours = browser.execute_script(
                "const e = document.querySelector(arguments[0]); const s = getComputedStyle(e);"
                "const b = getComputedStyle(document.body).backgroundColor;"
                "return [s.color, s.backgroundColor === 'rgba(0, 0, 0, 0)' ? b : s.backgroundColor]",
                selector,
            )
            light, dark = sorted((luminance(colour) for colour in colours), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (scheme, selector)


def luminance(colour):
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


#: The main table; more of them lie folded below it.
TABLE = "document.querySelector('#comparison table').tBodies[0].rows"


def test_tables_sort_by_click_and_by_key(browser, page):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, page)
    head = browser.find_element("css selector", "#comparison thead th:nth-child(2)")
    button = head.find_element("tag name", "button")
    button.click()
    assert head.get_attribute("aria-sort") == "descending"  # higher mIoU is better: best first
    values = browser.execute_script(f"return [...{TABLE}].map(row => Number(row.cells[1].dataset.value))")
    assert values == sorted(values, reverse=True)
    button.send_keys(Keys.ENTER)
    assert head.get_attribute("aria-sort") == "ascending"
    name = browser.find_element("css selector", "#comparison thead th:first-child")
    name.find_element("tag name", "button").send_keys(Keys.SPACE)
    labels = browser.execute_script(f"return [...{TABLE}].map(row => row.cells[0].dataset.value)")
    assert labels == sorted(labels, key=str.lower)
    assert head.get_attribute("aria-sort") == "none"


def test_choosing_a_method_brings_it_out(browser, page):
    from selenium.webdriver.support.ui import Select

    open_page(browser, page)
    count = "return document.querySelectorAll('#charts .chart [fill=\"var(--accent)\"]').length"
    label = "return [...document.querySelectorAll('#charts .chart')].map(e => e.innerHTML).join('')"
    assert browser.execute_script(count) > 0
    before = browser.execute_script(label)
    Select(browser.find_element("id", "first")).select_by_value("mtl_baseline")
    browser.execute_async_script("setTimeout(arguments[0], 500)")
    assert browser.execute_script(label) != before


@pytest.mark.parametrize(("scheme", "width", "rules"), [("dark", 390, {}), ("light", 1280, ["color-contrast"])])
def test_axe_finds_nothing_serious(browser, page, scheme, width, rules):
    """axe-core (Deque Systems) over the page with everything open, its charts by their names."""
    import axe_core_python

    open_page(browser, page, width, scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    browser.execute_script((Path(axe_core_python.__file__).parent / "axe.min.js").read_text("utf-8"))
    browser.set_script_timeout(110)
    options = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
    found = browser.execute_async_script(
        "const [options, done] = arguments; axe.run({exclude: [['.chart svg']]}, options).then(done)", options
    )
    told = [(each["impact"], each["id"], each["nodes"][0]["html"][:160]) for each in found["violations"]]
    assert [each for each in told if each[0] in ("serious", "critical")] == []
    # A rule that broke off is counted as incomplete, without a node: contrast has been looked at.
    assert len(next(each["nodes"] for each in found["passes"] if each["id"] == "color-contrast")) > 100
    named = "return [...document.querySelectorAll('.chart')].map(each => each.getAttribute('aria-label'))"
    assert all(browser.execute_script(named))


def test_theme_button(browser, page):
    open_page(browser, page, scheme="light")
    background = "return getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(background)
    browser.find_element("class name", "toggle").click()
    assert browser.execute_script(background) != before


def test_every_control_is_reached_by_keyboard_and_named(browser, page):
    open_page(browser, page)
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('button, select, a, summary, [tabindex]')].filter(e =>"
        " !(e.innerText || '').trim() && !e.getAttribute('aria-label') && !e.closest('label')"
        " && !e.closest('details:not([open])')).map(e => e.outerHTML.slice(0, 120))"
    )
    assert unnamed == []
    assert browser.execute_script("return document.querySelectorAll('[tabindex]:not([tabindex=\"0\"])').length") == 0


def test_a_page_switched_to_dark_prints_dark_on_white(browser, page):
    open_page(browser, page, scheme="light")
    browser.find_element("class name", "toggle").click()
    colours = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    assert browser.execute_script(colours) != ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    printed = browser.execute_script(colours)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert printed == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]


def test_prints_with_everything_open(browser, page):
    open_page(browser, page)
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length") == 0


def test_a_column_of_keys_sorts_as_text_although_some_look_like_numbers(browser, page):
    open_page(browser, page)
    order = browser.execute_script(
        """
        const rows = [...document.querySelector("#comparison table").tBodies[0].rows];
        const keys = ["9a", "12e4", "", "1000", "0f", "12e3"];
        rows.forEach((row, place) => { row.cells[0].dataset.value = keys[place % keys.length]; });
        document.querySelector("#comparison thead th:first-child button").click();
        return [...document.querySelector("#comparison table").tBodies[0].rows].map(row => row.cells[0].dataset.value);
        """
    )
    assert set(order) >= {"9a", "12e4", ""}, "the table has too few rows"
    assert order == sorted(order, key=lambda key: (key == "", key))


@pytest.mark.parametrize("width", [1280, 390])
def test_a_name_without_an_end_is_broken_and_leaves_room_for_the_numbers(browser, long_names, width):
    open_page(browser, long_names, width)
    browser.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    shares = browser.execute_script(
        "return [...document.querySelectorAll('.scroll')].map(e =>"
        " e.querySelector('tbody th').offsetWidth / e.clientWidth)"
    )
    assert max(shares) < 0.6
    cut = browser.execute_script(
        "return [...document.querySelectorAll('p, li, dd')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    )
    assert cut == 0


@pytest.mark.parametrize("width", [720, 960, 1280])
def test_the_seeds_behind_a_verdict_are_in_sight_with_their_improvement(browser, page, width):
    open_page(browser, page, width)
    browser.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('.verdicts .scroll')].map(e => [e.scrollWidth, e.clientWidth])"
    )
    assert sizes
    assert all(inner <= outer for inner, outer in sizes)


def test_a_legend_on_a_phone_is_whole(browser, page):
    open_page(browser, page, 320)
    right = browser.execute_script(
        "return [...document.querySelectorAll('.chart .role-legend')].map(e => e.getBoundingClientRect().right)"
    )
    assert right
    assert max(right) <= 320


def test_the_conclusion_of_a_comparison_is_in_sight(browser, page):
    open_page(browser, page)
    ends = browser.execute_script(
        "const e = document.querySelector('#statistics .scroll'), edge = e.getBoundingClientRect().right;"
        "return [edge, ...[...e.querySelectorAll('td .badge')].map(b => b.getBoundingClientRect().right)]"
    )
    assert len(ends) > 2
    assert max(ends[1:]) <= ends[0]


@pytest.mark.parametrize("which", ["page", "long_names"])
def test_every_table_fits_the_paper_and_colours_have_names(browser, request, which):
    """A4 across with margins of 14 mm is 1017 pixels wide."""
    open_page(browser, request.getfixturevalue(which), 1017)
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    wide = browser.execute_script(
        "return [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1)"
        ".map(e => [e.ariaLabel, e.scrollWidth, e.clientWidth])"
    )
    shown = browser.execute_script("return [...document.querySelectorAll('.choice select')].map(e => e.offsetWidth)")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert wide == []
    assert len(shown) == 2
    assert min(shown) > 0


def test_without_scripts_nothing_is_offered_that_needs_them(browser, page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page)
        tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    names = {each["name"]["value"] for each in tree if not each["ignored"] and each.get("name", {}).get("value")}
    assert any(name.startswith("Charts and sorting need JavaScript; the numbers behind the charts") for name in names)
    assert not names & {"Light / dark", " highlight ", "highlight"}
