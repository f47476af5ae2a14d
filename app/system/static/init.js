"use strict";

// The page at /docs: Swagger UI, and a bar to log in by.  Tokens stand in variables of this page, in no storage.

const AUTH = "/api/v1/auth";
const BY_REFRESH_TOKEN = [`${AUTH}/refresh`, `${AUTH}/logout/refresh`];
const SCHEMES = { access_token: "accessToken", refresh_token: "refreshToken" }; // as the API document names them
const SAFE_METHODS = ["GET", "HEAD", "OPTIONS"];
const HOW = {
  header: "by the Authorization header. The tokens are in this page alone: a reload forgets them.",
  cookies: "by cookies, which no script reads. What changes something sends their CSRF value along.",
};

let mode = null; // "header" or "cookies", while somebody is logged in
let username = "";
let tokens = {}; // of the header mode, by their names in the API's answers
let ui;

const element = (id) => document.getElementById(id);
const PREFIX = document.documentElement.dataset.cookiePrefix; // the setting COOKIE_PREFIX
const cookie = (name) => document.cookie.match(`(?:^|; )${PREFIX}${name}=([^;]*)`)?.[1] ?? "";
const pathOf = (url) => new URL(url, location.href).pathname;

function show(text, wrong = false) {
  element("status").textContent = text;
  element("status").classList.toggle("wrong", wrong);
}

function showSession(note = "") {
  element("credentials").hidden = mode !== null;
  element("session").hidden = mode === null;
  show(mode ? `${username} is logged in, ${HOW[mode]} ${note}` : `Nobody is logged in. ${note}`);
}

// A cookie alone is not enough to change something.  Where a token stands in the header, the API looks at no cookie.
function addCsrfValue(request) {
  const value = cookie(BY_REFRESH_TOKEN.includes(pathOf(request.url)) ? "csrf_refresh_token" : "csrf_access_token");
  const safe = SAFE_METHODS.includes((request.method ?? "GET").toUpperCase());
  if (value && !safe && !request.headers.Authorization) request.headers["X-CSRF-TOKEN"] ??= value;
  return request;
}

async function call(method, url, { token, body } = {}) {
  const request = { url, method, headers: {} };
  if (token) request.headers.Authorization = `Bearer ${token}`;
  if (body) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  const response = await fetch(url, addCsrfValue(request)).catch(() => null);
  if (!response) throw new Error("The server does not answer.");
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw Object.assign(new Error(answer.message ?? `The server answers ${response.status}.`), { status: response.status });
}

function forgetTokens() {
  tokens = {};
  if (ui.authSelectors.authorized().size) ui.authActions.logout(Object.values(SCHEMES)); // it fails where nothing was authorized
}

function logInByHeader(answer) {
  mode = "header";
  username = answer.user?.username ?? username;
  for (const [name, scheme] of Object.entries(SCHEMES)) {
    if (!answer[name]) continue; // a fresh login gives no refresh token: the one of before stays good
    tokens[name] = answer[name];
    ui.preauthorizeApiKey(scheme, answer[name]);
  }
}

function logInByCookies(answer) {
  mode = "cookies";
  username = answer.user?.username ?? username;
  forgetTokens(); // or the header would go before the cookies
}

function endSession(note) {
  mode = null;
  forgetTokens();
  showSession(note);
}

async function logIn() {
  const wanted = new FormData(element("login")).get("mode");
  const body = { username: element("username").value, password: element("password").value };
  const answer = await call("POST", `${AUTH}/login${wanted === "cookies" ? "?use_cookies=true" : ""}`, { body });
  element("password").value = "";
  wanted === "cookies" ? logInByCookies(answer) : logInByHeader(answer);
  showSession();
  element("log-out").focus();
}

async function renew() {
  const answer = await call("POST", `${AUTH}/refresh`, { token: tokens.refresh_token });
  if (mode === "header") logInByHeader(answer);
  showSession("Renewed: the access token is not fresh any more.");
}

async function logOut() {
  const ignoreDead = (error) => {
    if (error.status !== 401) throw error;
    return null;
  };
  const ended = await call("POST", `${AUTH}/logout`, { token: tokens.access_token }).catch(ignoreDead);
  // An access token that has expired ends no session, but its refresh token does.
  if (!ended) await call("POST", `${AUTH}/logout/refresh`, { token: tokens.refresh_token }).catch(ignoreDead);
  endSession("");
  element("username").focus();
}

// What was called by hand below the bar may log in, renew, log out, or find that the tokens are dead.
function learn(response) {
  const path = pathOf(response.url);
  const answer = response.obj ?? {};
  if (response.ok && path === `${AUTH}/logout`) endSession("");
  else if (response.ok && path.startsWith(AUTH) && response.url.includes("use_cookies=true")) {
    logInByCookies(answer);
    showSession();
  } else if (response.ok && path.startsWith(AUTH) && answer.access_token) {
    logInByHeader(answer);
    showSession();
  } else if (mode && (answer.error === "token_revoked" || answer.error === "token_reused")) endSession(answer.message);
  else if (mode && (answer.error === "token_expired" || answer.error === "authorization_required")) {
    show("The access token has expired: renew the tokens, or log out and in again.", true);
  }
  return response;
}

// A page that is loaded anew does not know whose cookies the browser has kept.
async function recognizeCookies() {
  if (!cookie("csrf_access_token") && !cookie("csrf_refresh_token")) return;
  try {
    if (!cookie("csrf_access_token")) await call("POST", `${AUTH}/refresh`); // that cookie goes with its token
    username = (await call("GET", "/api/v1/users/me")).username;
    mode = "cookies";
  } catch {
    // They are dead.
  }
}

function onClick(id, action) {
  element(id).addEventListener("click", () => attempt(action));
}

async function attempt(action) {
  const buttons = element("login").querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  try {
    await action();
  } catch (error) {
    show(error.message, true);
  }
  for (const button of buttons) button.disabled = false;
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const followColours = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
followColours();
dark.addEventListener("change", followColours);

element("login").addEventListener("submit", (event) => {
  event.preventDefault();
  if (mode === null) attempt(logIn);
});
onClick("renew", renew);
onClick("log-out", logOut);
show("Reading the API document …");

ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  layout: "BaseLayout", // without a top bar
  presets: [SwaggerUIBundle.presets.apis],
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  validatorUrl: null, // else the document is sent to another host to be judged
  requestInterceptor: addCsrfValue,
  responseInterceptor: learn,
  onComplete: () => attempt(recognizeCookies).then(() => showSession()),
});
