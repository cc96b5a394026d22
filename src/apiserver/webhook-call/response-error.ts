import { parseJson } from "../../machinery/json.ts";
import { type Status, StatusError } from "../../machinery/status.ts";

/** What Kubernetes' client says of an answer that brought nothing of its own to say, with the reason it gives it. */
const words: Readonly<Record<number, readonly [reason: string, message: string]>> = {
  400: ["BadRequest", "the server rejected our request for an unknown reason"],
  401: ["Unauthorized", "the server has asked for the client to provide credentials"],
  404: ["NotFound", "the server could not find the requested resource"],
  405: ["MethodNotAllowed", "the server does not allow this method on the requested resource"],
  409: ["AlreadyExists", "the server reported a conflict"],
  422: ["Invalid", "the server rejected our request due to an error in our request"],
  429: ["TooManyRequests", "the server has received too many requests and has asked us to try again later"],
  503: ["ServiceUnavailable", "the server is currently unable to handle the request"],
  504: [
    "Timeout",
    "the server was unable to return a response in the time allotted, but may still be processing the request",
  ],
};

/** The error that a webhook's answer with a code beyond 2xx stands for: its Status when it sent one. */
export function responseError(code: number, contentType: string, body: Buffer): StatusError {
  if (contentType.includes("json")) {
    try {
      const status = parseJson(body) as Partial<Status>;
      if (status?.kind === "Status" && status.status !== "Success") return StatusError.fromStatus(status, code);
    } catch {
      // Not a Status after all: the code has to do.
    }
  }
  // What a server says in its own words counts for 403, 406 and 415, and is cited for 5xx.
  const text = /^text\/|json/.test(contentType) || contentType === "" ? body.toString().trim() : "unknown";
  const known = words[code];
  if (known) return new StatusError(code, known[0], known[1]);
  if (code === 403) return new StatusError(code, "Forbidden", text);
  if (code === 406) return new StatusError(code, "NotAcceptable", text);
  if (code === 415) return new StatusError(code, "UnsupportedMediaType", text);
  if (code >= 500) {
    const message = `an error on the server (${JSON.stringify(text)}) has prevented the request from succeeding`;
    return new StatusError(code, "InternalError", message);
  }
  return new StatusError(
    code,
    "Unknown",
    `the server responded with the status code ${code} but did not return more information`,
  );
}
