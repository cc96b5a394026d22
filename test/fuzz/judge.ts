/** What every answer must be, whatever was asked. */
import { gunzipSync } from "node:zlib";
import { parse } from "yaml";
import { builtInSchema } from "../../src/api/schemas.ts";
import { decodeKubernetesProtobuf, protobufType } from "../../src/apiserver/http/kubernetes-protobuf.ts";
import type { FuzzReply } from "./connection.ts";
import type { FuzzRequest } from "./requests.ts";

/** Each code with the reasons that Kubernetes has for it. */
const reasons: Readonly<Record<number, readonly string[]>> = {
  400: ["BadRequest"],
  401: ["Unauthorized"],
  403: ["Forbidden"],
  404: ["NotFound"],
  405: ["MethodNotAllowed"],
  406: ["NotAcceptable"],
  409: ["Conflict", "AlreadyExists"],
  410: ["Gone", "Expired"],
  413: ["RequestEntityTooLarge"],
  415: ["UnsupportedMediaType"],
  422: ["Invalid"],
  429: ["TooManyRequests"],
  501: ["NotImplemented"],
  503: ["ServiceUnavailable"],
  504: ["Timeout"],
};

/** What an error of the program, not of the request, looks like in a message. */
const leaks =
  /\[object Object\]|TypeError|RangeError|SyntaxError|Cannot (read|set|convert|mix)|is not (a function|iterable)|Maximum call stack|\bundefined\b|\.ts:\d|node:internal/;

/** Codes of the 500s that may come, each with the reason. */
function mayFail({ path, query }: FuzzRequest, code: number): boolean {
  switch (code) {
    // Answered where something is known and not built.
    case 501:
      return true;
    // Nothing listens behind these paths in a cluster without nodes.
    case 503:
      return /\/(proxy|exec|attach|portforward|log)\b/.test(path);
    // A revision that does not exist yet is waited for, and then a timeout.
    case 504:
      return query.some(([name]) => name === "resourceVersion");
    default:
      return false;
  }
}

interface Status {
  kind?: string;
  apiVersion?: string;
  status?: string;
  message?: string;
  reason?: string;
  code?: number;
  details?: unknown;
}

const statusSchema = () => builtInSchema("io.k8s.apimachinery.pkg.apis.meta.v1.Status");

function bodyOf(reply: FuzzReply): Buffer {
  return reply.headers["content-encoding"] === "gzip" ? gunzipSync(reply.body) : reply.body;
}

/** What is wrong with an answer, in a few words that stay the same for the same fault; undefined when all is well. */
export function complaintOf(request: FuzzRequest, reply: FuzzReply): string | undefined {
  const { code, headers } = reply;
  const type = String(headers["content-type"] ?? "");
  if (request.method === "HEAD" || code === 304) return reply.body.length > 0 ? "a body where none may be" : undefined;
  if (reply.cut) return code >= 200 && code < 300 ? undefined : `an answer ${code} that does not end`;
  if (code < 200 || code > 599 || (code >= 300 && code < 400)) return `the code ${code}`;
  const length = headers["content-length"];
  if (length !== undefined && Number(length) !== reply.body.length) return "a content-length that is not the body's";
  let body: unknown;
  try {
    const bytes = bodyOf(reply);
    if (type.startsWith(protobufType)) {
      if (code >= 400) body = decodeKubernetesProtobuf(bytes, statusSchema);
    } else if (type.startsWith("application/json") && (code >= 400 || !isWatch(request))) {
      body = JSON.parse(bytes.toString());
    } else if (type.startsWith("application/yaml")) body = parse(bytes.toString());
  } catch (error) {
    return `a body that is not ${type}: ${(error as Error).message.slice(0, 60)}`;
  }
  if (code < 300) return undefined;
  // What a proxy's target answers is its own.
  if (/\/proxy(\/|$)/.test(request.path) && !type.includes("json")) return undefined;
  return complaintOfStatus(request, code, body as Status | undefined);
}

function isWatch({ path, query }: FuzzRequest): boolean {
  return path.includes("/watch/") || query.some(([name]) => name === "watch");
}

function complaintOfStatus(request: FuzzRequest, code: number, status: Status | undefined): string | undefined {
  if (status?.kind !== "Status" || status.apiVersion !== "v1" || status.status !== "Failure") {
    return `${code} without a Status`;
  }
  if (status.code !== code) return `${code} with a Status of code ${status.code}`;
  if (code >= 500 && !mayFail(request, code)) return `${code} ${status.reason}: ${stable(status.message)}`;
  if (!reasons[code]?.includes(status.reason ?? "")) return `${code} with the reason ${status.reason}`;
  if (!status.message) return `${code} without a message`;
  const leak = leaks.exec(status.message);
  if (leak && !sentText(request).includes(leak[0])) return `a message that says "${leak[0]}"`;
  return undefined;
}

function sentText({ path, query, body }: FuzzRequest): string {
  return `${path} ${query.flat().join(" ")} ${body?.toString("latin1") ?? ""}`;
}

/** Without what differs from case to case. */
function stable(message = ""): string {
  return message
    .replace(/"[^"]*"/g, '"…"')
    .replace(/\d+/g, "0")
    .slice(0, 100);
}
