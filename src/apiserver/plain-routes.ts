/** What is served beside resources: discovery, OpenAPI, health, version, metrics, and the keys of service accounts. */
import { type APIGroup, aggregatedDiscovery, apiGroupList, apiResourceList, apiVersions } from "../api/discovery.ts";
import type { Clock } from "../machinery/clock.ts";
import { methodNotSupported, type StatusError } from "../machinery/status.ts";
import type { Aggregator } from "./aggregation/aggregator.ts";
import { type Breathe, type Document, Documents } from "./http/documents.ts";
import type { Incoming, Outgoing } from "./http/messages.ts";
import { negotiate } from "./http/negotiate.ts";
import { sendBytes, sendEncoded, sendObject } from "./http/reply.ts";
import type { RequestInfo } from "./request.ts";
import type { ResourceTable } from "./resource-table.ts";

export interface PlainRoutesOptions {
  readonly resources: ResourceTable;
  /** What other servers serve. */
  readonly aggregator: Aggregator;
  /** The io clock. */
  readonly clock: Clock;
  /** "v1.36.4+k3ts1". */
  readonly version: string;
  /** "host:port" as clients reach this server. */
  readonly serverAddress: string;
  /** Named checks; an absent text means that all is well. */
  readonly checks: () => Readonly<Record<string, string | undefined>>;
  /** Prometheus text. */
  readonly metrics: () => string;
  /** Documents of /.well-known/openid-configuration and /openid/v1/jwks. */
  readonly openId: { readonly configuration: object; readonly keys: object };
}

type Route = (request: Incoming, response: Outgoing, parts: readonly string[], url: URL) => Promise<boolean>;

/** Answers true when the path was one of these. */
export function createPlainRoutes(
  options: PlainRoutesOptions,
): (request: Incoming, response: Outgoing, url: URL, info: RequestInfo) => Promise<boolean> {
  const { resources, aggregator } = options;
  // Generations only rise.
  const documents = new Documents(options.clock, () => resources.generation + aggregator.generation);

  async function sendDocument(
    request: Incoming,
    response: Outgoing,
    made: Promise<Document>,
    contentType: string,
  ): Promise<boolean> {
    const { bytes, etag } = await made;
    if (bytes.length === 0) return false;
    response.setHeader("etag", etag);
    response.setHeader("vary", "Accept");
    if (request.headers["if-none-match"] === etag) {
      response.statusCode = 304;
      response.end();
      return true;
    }
    await sendBytes(request, response, 200, contentType, bytes);
    return true;
  }

  const discovery: Route = async (request, response, parts) => {
    const root = parts[0] as "api" | "apis";
    const encoding = negotiate(request.headers.accept, "discovery");
    if (parts.length === 1 && encoding.as) {
      const contentType = `application/json;g=apidiscovery.k8s.io;v=${encoding.asVersion};as=APIGroupDiscoveryList`;
      const made = documents.get(`aggregated ${root} ${encoding.asVersion}`, () => {
        const own = aggregatedDiscovery(resources.all(), `/${root}`);
        const found = root === "api" ? own : aggregator.addAggregated(own);
        return { ...found, apiVersion: `apidiscovery.k8s.io/${encoding.asVersion}` };
      });
      return sendDocument(request, response, made, contentType);
    }
    const groups = () => aggregator.addGroups(apiGroupList(resources.all()));
    const found =
      root === "api"
        ? parts.length === 1
          ? apiVersions(options.serverAddress)
          : apiResourceList(resources.all(), "", parts[1]!)
        : parts.length === 1
          ? groups()
          : parts.length === 2
            ? groupOf(groups(), parts[1]!)
            : apiResourceList(resources.all(), parts[1]!, parts[2]!);
    if (!found) return false;
    await sendObject(request, response, 200, { type: encoding.type }, found);
    return true;
  };

  const openApi: Route = async (request, response, parts, url) => {
    if (parts[1] === "v2" && parts.length === 2) {
      const protobuf = wantsProtobuf(request.headers.accept);
      if (!protobuf) negotiate(request.headers.accept, "plain");
      const { openApiV2 } = await import("../api/openapi/v2.ts");
      const whole = async (breathe: Breathe) =>
        aggregator.addOpenApiV2(await openApiV2(resources.all(), options.version, breathe));
      const name = protobuf ? "openapi v2 in protobuf" : "openapi v2";
      // Of other servers' documents nobody tells when they change: they are asked each time, with their ETags.
      if (aggregator.hasRemote) documents.forget(name);
      if (!protobuf) return sendDocument(request, response, documents.get(name, whole), "application/json");
      const { encodeOpenApiV2, openApiProtobufType } = await import("./http/openapi-protobuf.ts");
      const made = documents.get(name, async (breathe) => encodeOpenApiV2(await whole(breathe), breathe));
      return sendDocument(request, response, made, openApiProtobufType);
    }
    if (parts[1] !== "v3") return false;
    const { openApiV3, openApiV3Index } = await import("../api/openapi/v3.ts");
    if (parts.length === 2) {
      const made = documents.get("openapi v3", () =>
        aggregator.addOpenApiV3Paths(openApiV3Index(resources.all(), options.version)),
      );
      return sendDocument(request, response, made, "application/json");
    }
    negotiate(request.headers.accept, "plain");
    const [, , root, groupOrVersion = "", version = ""] = parts;
    const [group, wanted] = root === "api" ? ["", groupOrVersion] : [groupOrVersion, version];
    const made = documents.get(
      `openapi v3 ${group}/${wanted}`,
      (breathe) =>
        aggregator.openApiV3(group, wanted) ?? openApiV3(resources.all(), group, wanted, options.version, breathe),
    );
    // The address carries the document's hash, so it never changes.
    if (url.searchParams.has("hash")) response.setHeader("cache-control", "public, immutable, max-age=31536000");
    return sendDocument(request, response, made, "application/json");
  };

  const health: Route = async (request, response, parts, url) => {
    const checks = options.checks();
    const excluded = new Set(url.searchParams.getAll("exclude"));
    const [only] = parts.slice(1);
    if (only !== undefined && !Object.hasOwn(checks, only)) return false;
    const failed: string[] = [];
    const lines: string[] = [];
    for (const [name, problem] of Object.entries(checks)) {
      if (only !== undefined && name !== only) continue;
      // Liveness does not depend on having started.
      if (excluded.has(name)) lines.push(`[+]${name} excluded: ok`);
      else if (problem === undefined || (parts[0] === "livez" && name.startsWith("poststarthook/"))) {
        lines.push(`[+]${name} ok`);
      } else {
        failed.push(name);
        lines.push(`[-]${name} failed: ${problem}`);
      }
    }
    const plain = "text/plain; charset=utf-8";
    if (failed.length > 0) {
      await sendBytes(request, response, 500, plain, `${lines.join("\n")}\n${parts[0]} check failed\n`);
    } else if (url.searchParams.has("verbose")) {
      await sendBytes(request, response, 200, plain, `${lines.join("\n")}\n${parts[0]} check passed\n`);
    } else await sendBytes(request, response, 200, plain, "ok");
    return true;
  };

  const version: Route = async (request, response, parts) => {
    if (parts.length > 1) return false;
    await sendObject(
      request,
      response,
      200,
      negotiate(request.headers.accept, "plain"),
      versionInfo(options.version),
      true,
    );
    return true;
  };

  const openId =
    (value: object, contentType: string): Route =>
    async (request, response) => {
      response.setHeader("cache-control", "public, max-age=3600");
      await sendBytes(request, response, 200, contentType, JSON.stringify(value));
      return true;
    };

  const routes: Readonly<Record<string, Route>> = {
    api: discovery,
    apis: discovery,
    openapi: openApi,
    healthz: health,
    livez: health,
    readyz: health,
    version,
    metrics: async (request, response, parts) => {
      if (parts.length > 1) return false;
      await sendBytes(request, response, 200, "text/plain; version=0.0.4; charset=utf-8", options.metrics());
      return true;
    },
    ".well-known": async (request, response, parts, url) =>
      parts[1] === "openid-configuration" && parts.length === 2
        ? openId(options.openId.configuration, "application/json")(request, response, parts, url)
        : false,
    openid: async (request, response, parts, url) =>
      parts.join("/") === "openid/v1/jwks"
        ? openId(options.openId.keys, "application/jwk-set+json")(request, response, parts, url)
        : false,
  };

  return async (request, response, url, { path }) => {
    const parts = path.split("/").filter((part) => part !== "");
    if (parts.length === 0) {
      const paths = [
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
      ];
      await sendEncoded(
        request,
        response,
        200,
        negotiate(request.headers.accept, "plain"),
        JSON.stringify({ paths }),
        true,
      );
      return true;
    }
    const route = Object.hasOwn(routes, parts[0]!) ? routes[parts[0]!] : undefined;
    if (!route) return false;
    if (request.method !== "GET" && request.method !== "HEAD") throw onlyRead(path, request.method ?? "");
    return route(request, response, parts, url);
  };
}

/** The answer of GET /apis/<group>; undefined when nothing of the group is served. */
function groupOf({ groups }: { readonly groups: readonly APIGroup[] }, name: string): APIGroup | undefined {
  const found = groups.find((group) => group.name === name);
  return found && { kind: "APIGroup", apiVersion: "v1", ...found };
}

function onlyRead(path: string, method: string): StatusError {
  return methodNotSupported({ group: "", resource: path }, method.toLowerCase());
}

/** Old clients, and kubectl for a `kind: List`, ask for the document in protobuf alone. */
function wantsProtobuf(accept = ""): boolean {
  return accept.includes("application/com.github.proto-openapi.spec.v2") && !accept.includes("application/json");
}

/** The body of /version. */
export function versionInfo(version: string): object {
  const [, major = "", minor = ""] = /^v(\d+)\.(\d+)/.exec(version) ?? [];
  return {
    major,
    minor,
    gitVersion: version,
    gitCommit: "",
    gitTreeState: "clean",
    buildDate: "1970-01-01T00:00:00Z",
    goVersion: "",
    compiler: "node",
    platform: `${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}`,
  };
}
