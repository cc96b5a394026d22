import { badRequest, type FieldError, fieldError, invalid } from "../../machinery/status.ts";
import type { StreamSubresource } from "../request.ts";
import { pump, refusalOf, sendToBackend, writeHead } from "./http-relay.ts";
import { connectKubelet, containerOf, flag, type KubeletClient, podOf } from "./kubelet.ts";

const minimums = { tailLines: 0, limitBytes: 1, sinceSeconds: 1 };
const streams = ["All", "Stdout", "Stderr"];

/** GET …/pods/{name}/log: what the container wrote, from its kubelet, as it comes. */
export function logSubresource(credentials: KubeletClient): StreamSubresource {
  return async (context, { info, url, response, signal }) => {
    if (!response) throw badRequest("logs cannot be read over an upgraded connection");
    const query = logQuery(url, info.name ?? "");
    const pod = await podOf(context, info);
    const container = containerOf(pod, url.searchParams.get("container"));
    const node = pod.spec?.nodeName;
    if (!node) {
      // A pod that runs nowhere has written nothing.
      writeHead(response, 200, { "content-type": "text/plain" });
      response.end();
      return;
    }
    const connection = await connectKubelet(context, credentials, node, signal, {
      insecure: flag(url, "insecureSkipTLSVerifyBackend"),
    });
    const path = ["containerLogs", info.namespace ?? "", info.name ?? "", container].map(encodeURIComponent).join("/");
    const { response: logs } = await sendToBackend({
      connection,
      host: node,
      method: "GET",
      path: `/${path}${query}`,
      headers: { connection: "close" },
      signal,
    });
    if (logs.statusCode !== 200) throw await refusalOf(logs, "pods", info.name ?? "");
    writeHead(response, 200, { "content-type": "text/plain" });
    await pump(logs, response, signal);
  };
}

/** The kubelet's query for the parameters of PodLogOptions. Throws 422 for values out of range. */
function logQuery(url: URL, name: string): string {
  const wanted = url.searchParams;
  const query = new URLSearchParams();
  const errors: FieldError[] = [];
  for (const parameter of ["follow", "previous", "timestamps"]) {
    if (flag(url, parameter)) query.set(parameter, "true");
  }
  for (const [parameter, minimum] of Object.entries(minimums)) {
    const text = wanted.get(parameter);
    if (text === null) continue;
    const value = Number(text);
    if (!/^-?\d+$/.test(text)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
    if (value < minimum) {
      const least = minimum === 0 ? "must be greater than or equal to 0" : "must be greater than 0";
      errors.push(fieldError.invalid(parameter, value, least));
    }
    query.set(parameter, text);
  }
  const since = wanted.get("sinceTime");
  if (since !== null) {
    if (Number.isNaN(Date.parse(since)))
      throw badRequest(`parsing time ${JSON.stringify(since)}: not an RFC 3339 time`);
    if (wanted.has("sinceSeconds")) {
      errors.push(fieldError.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    query.set("sinceTime", since);
  }
  const stream = wanted.get("stream");
  if (stream !== null) {
    if (!streams.includes(stream)) errors.push(fieldError.notSupported("stream", stream, streams));
    else if (stream !== "All") query.set("stream", stream);
  }
  if (errors.length > 0) throw invalid({ group: "", resource: "PodLogOptions" }, name, errors);
  const text = query.toString();
  return text ? `?${text}` : "";
}
