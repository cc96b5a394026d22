/** What is served beside resources: discovery, OpenAPI, health, version, metrics, and the keys of service accounts. */
import { createHash } from "node:crypto";
import { type APIGroup, aggregatedDiscovery, apiGroupList, apiResourceList, apiVersions } from "../api/discovery.ts";
import { methodNotSupported, type StatusError } from "../machinery/status.ts";
import type { Aggregator } from "./aggregation/aggregator.ts";
import type { Incoming, Outgoing } from "./http/messages.ts";
import { negotiate } from "./http/negotiate.ts";
import { sendBytes, sendEncoded, sendObject } from "./http/reply.ts";
import type { RequestInfo } from "./request.ts";
import type { ResourceTable } from "./resource-table.ts";

export interface PlainRoutesOptions {
  readonly resources: ResourceTable;
  /** What other servers serve. */
  readonly aggregator: Aggregator;
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
  /** Documents that are dear to make, good for one generation of what is served. */
  const documents = new Map<string, Promise<{ json: string; etag: string }>>();
  /** Generations only rise. */
  const generationNow = () => resources.generation + aggregator.generation;
  let generation = generationNow();

  function document(key: string, make: () => object | Promise<object | undefined> | undefined) {
    const now = generationNow();
    if (generation !== now) documents.clear();
    generation = now;
    let made = documents.get(key);
    if (!made) {
      made = Promise.resolve(make()).then((value) => {
        const json = value === undefined ? "" : JSON.stringify(value);
        const etag = `"${createHash("sha512").update(json).digest("hex").toUpperCase()}"`;
        return { json, etag };
      });
      documents.set(key, made);
      made.catch(() => documents.delete(key));
    }
    return made;
  }

  async function sendDocument(
    request: Incoming,
    response: Outgoing,
    made: Promise<{ json: string; etag: string }>,
    contentType: string,
  ): Promise<boolean> {
    const { json, etag } = await made;
    if (json === "") return false;
    response.setHeader("etag", etag);
    response.setHeader("vary", "Accept");
    if (request.headers["if-none-match"] === etag) {
      response.statusCode = 304;
      response.end();
      return true;
    }
    await sendBytes(request, response, 200, contentType, json);
    return true;
  }

  const discovery: Route = async (request, response, parts) => {
    const root = parts[0] as "api" | "apis";
    const encoding = negotiate(request.headers.accept, "discovery");
    if (parts.length === 1 && encoding.as) {
      const contentType = `application/json;g=apidiscovery.k8s.io;v=${encoding.asVersion};as=APIGroupDiscoveryList`;
      const made = document(`aggregated ${root} ${encoding.asVersion}`, () => {
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
      if (wantsProtobuf(request.headers.accept)) {
        const { encodeOpenApiV2, openApiProtobufType } = await import("./http/openapi-protobuf.ts");
        const { openApiV2 } = await import("../api/openapi/v2.ts");
        const bytes = encodeOpenApiV2(await aggregator.addOpenApiV2(await openApiV2(resources.all(), options.version)));
        await sendBytes(request, response, 200, openApiProtobufType, bytes);
        return true;
      }
      negotiate(request.headers.accept, "plain");
      // Of other servers' documents nobody tells when they change: they are asked each time, with their ETags.
      if (aggregator.hasRemote) documents.delete("openapi v2");
      const made = document("openapi v2", async () => {
        const { openApiV2 } = await import("../api/openapi/v2.ts");
        return aggregator.addOpenApiV2(await openApiV2(resources.all(), options.version));
      });
      return sendDocument(request, response, made, "application/json");
    }
    if (parts[1] !== "v3") return false;
    const { openApiV3, openApiV3Index } = await import("../api/openapi/v3.ts");
    if (parts.length === 2) {
      const made = document("openapi v3", () =>
        aggregator.addOpenApiV3Paths(openApiV3Index(resources.all(), options.version)),
      );
      return sendDocument(request, response, made, "application/json");
    }
    negotiate(request.headers.accept, "plain");
    const [, , root, groupOrVersion = "", version = ""] = parts;
    const [group, wanted] = root === "api" ? ["", groupOrVersion] : [groupOrVersion, version];
    const made = document(
      `openapi v3 ${group}/${wanted}`,
      () => aggregator.openApiV3(group, wanted) ?? openApiV3(resources.all(), group, wanted, options.version),
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
