// The cookies of a browser, because the `fetch` of Node stores none.

interface Cookie {
  value: string;
  path: string;
  httpOnly: boolean;
  expires: number;
}

export class Jar {
  readonly #cookies = new Map<string, Cookie>();

  /** The value of `document.cookie`. */
  readonly readable = (): string => this.#text(([, cookie]) => !cookie.httpOnly);

  /** The `Cookie` header for this URL. */
  sentTo(url: string): string {
    const { pathname } = new URL(url);
    return this.#text(([, { path }]) => path === "/" || pathname === path || pathname.startsWith(`${path}/`));
  }

  keep(answer: Response): void {
    for (const line of answer.headers.getSetCookie()) {
      const [pair = "", ...attributes] = line.split("; ");
      const [name = "", value = ""] = pair.split("=");
      const about = new Map(attributes.map((one) => [one.split("=")[0]?.toLowerCase(), one.split("=")[1] ?? ""]));
      this.#cookies.set(name, {
        value,
        path: about.get("path") ?? "/",
        httpOnly: about.has("httponly"),
        expires: Date.now() + Number(about.get("max-age")) * 1000,
      });
    }
  }

  #text(wanted: (cookie: [string, Cookie]) => boolean): string {
    const alive = [...this.#cookies].filter(([, cookie]) => cookie.expires > Date.now());
    return alive.filter(wanted).map(([name, { value }]) => `${name}=${value}`).join("; ");
  }
}
