"""The page at /docs: its files, its policy, and its behaviour in a browser."""

import json
import os
import re
import shutil
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from app import create_app
from config import TestingConfig
from support.api import API, PASSWORD, error
from support.databases import fresh_database
from support.serving import post, serving

FILES = {
    "docs.css": "text/css; charset=utf-8",
    "init.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
STRANGE_NAMES = [
    "", "index.css", "swagger-ui.js", "LICENSE", "docs.html", "init.js/", "INIT.JS", "..", "../docs.py", "..%2fdocs.py",
    "%2e%2e/routes.py", "..\\docs.py", "init.js%00", "/etc/passwd",
]  # fmt: skip
expect.set_options(timeout=30_000)  # milliseconds, because a busy machine is slow
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture
def client():
    """A client of an application whose database is not used."""
    return create_app(TestingConfig()).test_client()


class TestShowDocs:
    def test_is_a_page_under_a_strict_policy(self, client):
        """The page has a strict policy, no inline code and `no-store`."""
        response = client.get("/docs")

        assert (response.status_code, response.mimetype) == (200, "text/html")
        assert response.headers["Cache-Control"] == "no-store"
        policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' data:",
            "connect-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        assert re.search(r"<script>|<style|\sstyle=|\son[a-z]+=", response.text) is None

    def test_links_to_own_files(self, client):
        """The page links only to its own files and to /openapi.json."""
        linked = re.findall(r'(?:src|href)="([^"]+)"', client.get("/docs").text)

        assert set(linked) == {f"/docs/{name}" for name in FILES} | {"/openapi.json"}
        assert all(client.get(path).status_code == 200 for path in linked)

    def test_methods_and_queries(self, client):
        """HEAD and OPTIONS work; a query, a final slash and a POST do not."""
        assert client.head("/docs").status_code == client.options("/docs").status_code == 200
        assert error(client.get("/docs?url=x")) == (422, "validation_failed")
        assert error(client.get("/docs/")) == (404, "not_found")
        assert error(client.post("/docs")) == (405, "method_not_allowed")

    def test_knows_the_cookies(self, another):
        """The page tells its script the COOKIE_PREFIX."""
        page = another(COOKIE_PREFIX="blue_").test_client().get("/docs").text

        assert 'data-cookie-prefix="blue_"' in page


class TestShowDocsFile:
    @pytest.mark.parametrize("name", FILES)
    def test_headers(self, client, name):
        """A file has its content type, `nosniff`, and 300 seconds in caches."""
        response = client.get(f"/docs/{name}")

        assert response.status_code == 200
        assert response.headers["Content-Type"] == FILES[name]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "public, max-age=300"
        head = client.head(f"/docs/{name}")
        assert (head.data, head.headers["Content-Length"]) == (b"", str(len(response.data)))

    def test_conditional_requests(self, client):
        """A known ETag gets 304, and If-Match with another one gets 412."""
        etag = client.get("/docs/init.js").headers["ETag"]

        unchanged = client.get("/docs/init.js", headers={"If-None-Match": etag})
        assert (unchanged.status_code, unchanged.data, unchanged.headers["ETag"]) == (304, b"", etag)
        assert client.get("/docs/init.js", headers={"If-None-Match": '"other"'}).status_code == 200
        assert error(client.get("/docs/init.js", headers={"If-Match": '"other"'})) == (412, "precondition_failed")

    @pytest.mark.parametrize("name", STRANGE_NAMES)
    def test_other_names(self, client, name):
        """Names of other files, inside the folder or outside, get 404."""
        assert error(client.get(f"/docs/{name}")) == (404, "not_found")

    @pytest.mark.parametrize("path", ["/docs", "/docs/init.js", "/docs/docs.css"])
    def test_no_other_host(self, client, path):
        """Our files contain no URL of another host."""
        assert re.search(r"""https?:|wss?:|["'(]//""", client.get(path).text) is None

    def test_tokens_are_in_no_storage(self, client):
        """The script does not use browser storage, which other scripts could read."""
        assert re.search(r"localStorage|sessionStorage|indexedDB", client.get("/docs/init.js").text) is None


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a real server where grace has an account."""
    with (
        fresh_database("sqlite", tmp_path_factory.mktemp("docs")) as url,
        serving(DATABASE_URL=url, APP_ENV="testing") as (port, _process),
    ):
        assert post(port, f"{API}/auth/register", {"username": "grace", "password": PASSWORD})[0] == 201
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def browser():
    """An installed Chromium.  Without one, skip the tests, or fail in CI."""
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        leave = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        leave("no Chromium: install it to test the page at /docs in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            chromium_sandbox=os.geteuid() != 0,  # as root, Chromium does not start with a sandbox
            args=["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """The open page.  Afterwards, checks for errors, policy violations and requests to other hosts."""
    context = browser.new_context(base_url=server)
    context.add_init_script(
        "addEventListener('securitypolicyviolation', (e) => console.error(e.violatedDirective, e.blockedURI, e.sample))"
    )
    page = context.new_page()
    problems, asked, failed = [], set(), set()
    page.on("pageerror", lambda fault: problems.append(str(fault)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.add(urlsplit(request.url)._replace(path="", query="", fragment="")))
    page.on("response", lambda response: failed.add(response.url) if not response.ok else None)
    page.goto("/docs")
    status(page).to_have_text("Nobody is logged in. ")
    yield page
    assert [problem for problem in problems if not problem.startswith("Failed to load resource")] == []
    assert all(urlsplit(url).path.startswith(API) for url in failed)  # only calls of the API may fail
    assert {origin.geturl() for origin in asked if origin.scheme != "data"} == {server}
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
    context.close()


def bar(page):
    return page.get_by_role("form", name="Log in")


def press(page, name):
    bar(page).get_by_role("button", name=name).click()


def log_in(page, mode, password=PASSWORD):
    bar(page).get_by_label("User name").fill("grace")
    bar(page).get_by_label("Password").fill(password)
    bar(page).get_by_label(mode).check()
    press(page, "Log in")


def status(page):
    return expect(page.locator("#status"))


def execute(page, method, path, body=None, **query):
    """Call an operation; return the sent headers, the status and the shown response."""
    operation = page.locator(f".opblock-{method}").filter(has=page.locator(f'[data-path="{path}"]'))
    if "is-open" not in operation.get_attribute("class"):
        operation.locator(".opblock-summary-control").click()
    if body is not None:
        operation.locator("textarea.body-param__text").fill(json.dumps(body))
    for name, value in query.items():
        operation.locator(f'[data-param-name="{name}"] select').select_option(value)
    with page.expect_response(lambda response: urlsplit(response.url).path == path) as answered:
        operation.get_by_role("button", name="Execute").click()
    response = answered.value
    shown = operation.locator(".live-responses-table")
    expect(shown.locator("tbody .response-col_status")).to_contain_text(str(response.status))
    return response.request.all_headers(), response.status, shown


@pytest.mark.programs
class TestInABrowser:
    def test_wrong_password(self, page):
        """The page shows the message of the API for a wrong password."""
        log_in(page, "in this page", "wrong password")

        status(page).to_have_text("The user name or the password is wrong.")

    def test_by_the_header(self, page):
        """Calls send the Authorization header after a login, and no longer after a logout."""
        log_in(page, "in this page")
        status(page).to_contain_text("grace is logged in, by the Authorization header.")

        sent, code, shown = execute(page, "get", f"{API}/users/me")
        assert (code, sent["authorization"].split()[0]) == (200, "Bearer")
        expect(shown).to_contain_text('"username": "grace"')
        assert execute(page, "patch", f"{API}/users/me", {"username": "grace"})[1] == 200
        assert page.evaluate("document.cookie") == ""

        press(page, "Log out")
        status(page).to_have_text("Nobody is logged in. ")
        sent, code, _shown = execute(page, "get", f"{API}/users/me")
        assert (code, "authorization" in sent) == (401, False)

    def test_by_cookies(self, page):
        """Calls send cookies and the CSRF value, and a reload keeps the login."""
        log_in(page, "in cookies")
        status(page).to_contain_text("grace is logged in, by cookies")
        readable = page.evaluate("document.cookie")
        assert {pair.split("=")[0] for pair in readable.split("; ")} == {"csrf_access_token", "csrf_refresh_token"}
        assert "eyJ" not in readable + page.content()

        sent, code, _shown = execute(page, "patch", f"{API}/users/me", {"username": "grace"})
        assert (code, "authorization" in sent) == (200, False)
        assert f"csrf_access_token={sent['x-csrf-token']}" in readable
        sent, code, _shown = execute(page, "post", f"{API}/auth/refresh")
        assert code == 200
        assert f"csrf_refresh_token={sent['x-csrf-token']}" in readable

        page.goto("/docs")  # not `reload`, because Swagger UI warns about the `_` in its own deep links
        status(page).to_contain_text("grace is logged in, by cookies")
        sent, code, _shown = execute(page, "get", f"{API}/users/me")
        assert (code, "x-csrf-token" in sent) == (200, False)

        press(page, "Log out")
        status(page).to_have_text("Nobody is logged in. ")
        assert execute(page, "get", f"{API}/users/me")[1] == 401
        assert page.evaluate("document.cookie") == ""

    def test_cookies_replace_the_header(self, page):
        """After a refresh into cookies, calls send no Authorization header."""
        log_in(page, "in this page")
        status(page).to_contain_text("by the Authorization header")

        assert execute(page, "post", f"{API}/auth/refresh", use_cookies="true")[1] == 200
        status(page).to_contain_text("by cookies")

        sent, code, _shown = execute(page, "get", f"{API}/users/me")
        assert (code, "authorization" in sent) == (200, False)

    def test_refresh_by_hand(self, page):
        """After a refresh by hand the page uses the new refresh token."""
        log_in(page, "in this page")
        status(page).to_contain_text("grace is logged in")

        first = execute(page, "post", f"{API}/auth/refresh")[0]["authorization"]
        second = execute(page, "post", f"{API}/auth/refresh")[0]["authorization"]
        press(page, "Renew")
        status(page).to_contain_text("Renewed")
        third = execute(page, "post", f"{API}/auth/refresh")[0]["authorization"]

        assert len({first, second, third}) == 3

    def test_register_and_log_out_by_hand(self, page):
        """A registration by hand logs in, and a logout by hand logs out."""
        newcomer = {"username": "newcomer", "password": PASSWORD}
        assert execute(page, "post", f"{API}/auth/register", newcomer)[1] == 201
        status(page).to_contain_text("newcomer is logged in, by the Authorization header.")

        assert execute(page, "post", f"{API}/auth/logout")[1] == 200
        status(page).to_have_text("Nobody is logged in. ")

    def test_an_expired_token_is_explained(self, page):
        """The page explains an expired token and how to renew it."""
        expired = {"error": "token_expired", "message": "The token has expired.", "status": 401, "request_id": "x"}
        log_in(page, "in this page")
        status(page).to_contain_text("grace is logged in")
        page.route(f"**{API}/users/me", lambda route: route.fulfill(status=401, json=expired))

        assert execute(page, "get", f"{API}/users/me")[1] == 401
        status(page).to_contain_text("The access token has expired: renew the tokens")
