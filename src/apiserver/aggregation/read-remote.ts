/** Reads by this server's own components (controllers) of what other servers serve: metrics, above all. */
import type { ListOptions, NamespacedOptions } from "../../client/client.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { ResourceType } from "../../machinery/object.ts";
import { StatusError, serviceUnavailable, timeout } from "../../machinery/status.ts";
import type { UserInfo } from "../request.ts";
import { refusalOf } from "../subresources/http-relay.ts";
import { identityHeaders } from "./identity-headers.ts";
import { pathOf } from "./remote-api.ts";
import type { ServiceBackend } from "./service-backend.ts";

const timeoutMs = 30_000;
const maxBytes = 64 * 1024 * 1024;

/** Answers a get or list of one user. Throws StatusErrors. */
export type RemoteReader = (read: {
  readonly type: ResourceType;
  /** Absent for a list. */
  readonly name?: string;
  readonly options: ListOptions & NamespacedOptions;
  readonly user: UserInfo;
}) => Promise<unknown>;

const parameters = [
  "labelSelector",
  "fieldSelector",
  "limit",
  "continue",
  "resourceVersion",
  "resourceVersionMatch",
] as const;

export function remoteReader(backend: ServiceBackend, own: { clock: Clock; signal: AbortSignal }): RemoteReader {
  return async ({ type, name, options, user }) => {
    const subject = `(get ${type.resource}.${type.group})`;
    const unable = () => serviceUnavailable(`the server is currently unable to handle the request ${subject}`);
    if (!backend.api.available) throw unable();
    const { namespace, subresource } = options;
    const query = new URLSearchParams();
    for (const parameter of parameters) {
      const value = options[parameter];
      if (value !== undefined && value !== "") query.set(parameter, String(value));
    }
    const path = [
      pathOf(backend.api),
      ...(namespace ? ["namespaces", encodeURIComponent(namespace)] : []),
      type.resource,
      ...(name ? [encodeURIComponent(name)] : []),
      ...(subresource ? [subresource] : []),
    ].join("/");
    const late = new AbortController();
    const timer = own.clock.after(timeoutMs, () => late.abort(timeout(`the server did not answer in time ${subject}`)));
    const signals = [own.signal, late.signal, ...(options.signal ? [options.signal] : [])];
    try {
      const { response } = await backend.send({
        method: "GET",
        path: query.size > 0 ? `${path}?${query}` : path,
        headers: { ...identityHeaders(user), accept: "application/json" },
        signal: AbortSignal.any(signals),
      });
      if (response.statusCode === 503 && !response.headers["content-type"]?.includes("json")) {
        response.destroy();
        throw unable();
      }
      if ((response.statusCode ?? 0) >= 300) throw await refusalOf(response, type.resource, name ?? "");
      const chunks: Buffer[] = [];
      let length = 0;
      for await (const chunk of response) {
        length += (chunk as Buffer).length;
        if (length > maxBytes) throw new Error("the answer is too large");
        chunks.push(chunk as Buffer);
      }
      return JSON.parse(Buffer.concat(chunks).toString());
    } catch (error) {
      if (late.signal.aborted) throw late.signal.reason;
      if (error instanceof StatusError || options.signal?.aborted) throw error;
      throw serviceUnavailable(`error trying to reach service: ${(error as Error).message}`);
    } finally {
      timer.cancel();
    }
  };
}
