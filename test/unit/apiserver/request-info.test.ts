import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRequestInfo } from "../../../src/apiserver/request-info.ts";

/** Rows of apiserver's TestGetAPIRequestInfo, in our words: method, path, what is understood. */
const rows: [method: string, path: string, expected: Record<string, unknown>][] = [
  ["GET", "/api/v1/namespaces", { verb: "list", resource: "namespaces" }],
  ["GET", "/api/v1/namespaces/other", { verb: "get", resource: "namespaces", namespace: "other", name: "other" }],
  ["GET", "/api/v1/namespaces/other/pods", { verb: "list", resource: "pods", namespace: "other" }],
  ["GET", "/api/v1/namespaces/other/pods/foo", { verb: "get", resource: "pods", namespace: "other", name: "foo" }],
  ["HEAD", "/api/v1/namespaces/other/pods/foo", { verb: "get", resource: "pods", namespace: "other", name: "foo" }],
  ["GET", "/api/v1/pods", { verb: "list", resource: "pods" }],
  ["GET", "/api/v1/pods?watch=true", { verb: "watch", resource: "pods" }],
  ["GET", "/api/v1/pods?watch=false", { verb: "list", resource: "pods" }],
  ["GET", "/api/v1/watch/namespaces/other/pods", { verb: "watch", resource: "pods", namespace: "other" }],
  ["DELETE", "/api/v1/namespaces/other/pods", { verb: "deletecollection", resource: "pods", namespace: "other" }],
  [
    "PUT",
    "/api/v1/namespaces/other/finalize",
    { verb: "update", resource: "namespaces", name: "other", subresource: "finalize" },
  ],
  [
    "PATCH",
    "/apis/apps/v1/namespaces/a/deployments/b/scale",
    { verb: "patch", group: "apps", name: "b", subresource: "scale" },
  ],
  [
    "GET",
    "/api/v1/namespaces/a/services/b:80/proxy/x/y",
    { resource: "services", name: "b:80", subresource: "proxy", rest: "x/y" },
  ],
  ["GET", "/api/v1/pods?fieldSelector=metadata.name%3Dfoo", { verb: "list", name: "foo" }],
  ["GET", "/apis/apps/v1", { isResource: false, verb: "get" }],
  ["GET", "/healthz", { isResource: false, verb: "get", path: "/healthz" }],
];

for (const [method, path, expected] of rows) {
  test(`${method} ${path} is understood as kube-apiserver does`, () => {
    const info = parseRequestInfo(method, new URL(path, "https://server")) as unknown as Record<string, unknown>;
    for (const [key, value] of Object.entries(expected)) assert.equal(info[key], value, key);
  });
}

test("a path with a broken escape is refused with 400", () => {
  assert.throws(() => parseRequestInfo("GET", new URL("https://server/api/v1/pods/%zz")), { code: 400 });
});
