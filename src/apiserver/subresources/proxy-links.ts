import type { IncomingMessage } from "node:http";
import { PassThrough, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import type { Relayed } from "./http-relay.ts";

/** Attributes of HTML that hold a URL, by element (those that Kubernetes' proxy knows). */
const links: Readonly<Record<string, readonly string[]>> = {
  a: ["href"],
  applet: ["codebase"],
  area: ["href"],
  audio: ["src"],
  base: ["href"],
  blockquote: ["cite"],
  body: ["background"],
  button: ["formaction"],
  command: ["icon"],
  del: ["cite"],
  embed: ["src"],
  form: ["action"],
  frame: ["longdesc", "src"],
  head: ["profile"],
  html: ["manifest"],
  iframe: ["longdesc", "src"],
  img: ["longdesc", "src", "usemap"],
  input: ["src", "usemap", "formaction"],
  ins: ["cite"],
  link: ["href"],
  object: ["classid", "codebase", "data", "usemap"],
  q: ["cite"],
  script: ["src"],
  source: ["src"],
  video: ["poster", "src"],
};

const decoders = { gzip: createGunzip, deflate: createInflate, br: createBrotliDecompress };

/**
 * The answer of a backend that does not know that it stands behind `prefix`: redirects and the links of HTML pages that
 * begin at the root, or name the backend's own host, lead through the prefix. All else stays as it is.
 */
export async function rewriteLinks(response: IncomingMessage, prefix: string, host: string): Promise<Relayed> {
  const { headers, statusCode } = response;
  for (const name of ["location", "content-location"] as const) {
    const url = headers[name];
    if (url) headers[name] = behind(url, prefix, host);
  }
  const encoding = headers["content-encoding"]?.toLowerCase() ?? "";
  const decode = encoding === "" ? () => new PassThrough() : decoders[encoding as keyof typeof decoders];
  const isPage = /^text\/html\b/i.test(headers["content-type"] ?? "");
  if (!isPage || !decode || headers["content-length"] === "0") return response;

  delete headers["content-length"];
  delete headers["content-encoding"];
  return Object.assign(await rewritePage(response, decode(), (url) => behind(url, prefix, host)), {
    headers,
    statusCode,
  });
}

async function rewritePage(
  page: Readable,
  decoder: NodeJS.ReadWriteStream,
  rewrite: (url: string) => string,
): Promise<Readable> {
  // Loaded at use: few clients ask for pages.
  const { RewritingStream } = await import("parse5-html-rewriting-stream");
  const rewriter = new RewritingStream();
  rewriter.on("startTag", (tag, raw) => {
    let changed = false;
    for (const attribute of tag.attrs) {
      if (!links[tag.tagName]?.includes(attribute.name)) continue;
      const value = rewrite(attribute.value);
      changed ||= value !== attribute.value;
      attribute.value = value;
    }
    if (changed) rewriter.emitStartTag(tag);
    else rewriter.emitRaw(raw);
  });
  const result = new PassThrough();
  // latin1 maps bytes to characters and back one by one, whatever the page is written in.
  pipeline(
    page,
    decoder,
    async function* (source) {
      for await (const chunk of source) yield (chunk as Buffer).toString("latin1");
    },
    rewriter,
    async function* (source) {
      for await (const text of source) yield Buffer.from(String(text), "latin1");
    },
    result,
  ).catch((error) => result.destroy(error));
  return result;
}

/** One URL, led through the prefix when it means a place of the backend by its whole path. */
function behind(url: string, prefix: string, host: string): string {
  const own = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url);
  if (own && own[1] !== host) return url;
  const path = own ? own[2] || "/" : url;
  if (!path.startsWith("/") || path.startsWith("//") || path === prefix || path.startsWith(`${prefix}/`)) return path;
  return `${prefix}${path}`;
}
