import assert from "node:assert/strict";
import { test } from "node:test";
import { openApiV3From } from "../../../../src/apiserver/aggregation/convert-openapi.ts";

test("a v2 document becomes one of v3: bodies, contents and references stand where v3 has them", () => {
  const ref = (name: string) => ({ $ref: `#/definitions/${name}` });
  const item = {
    parameters: [{ name: "pretty", in: "query", type: "string", uniqueItems: true }],
    post: {
      operationId: "create",
      consumes: ["application/json", "application/yaml"],
      produces: ["application/json"],
      schemes: ["https"],
      parameters: [
        { name: "namespace", in: "path", required: true, type: "string", description: "where" },
        { name: "body", in: "body", required: true, schema: ref("Flunder") },
      ],
      responses: { 201: { description: "Created", schema: ref("Flunder") }, 401: { description: "Unauthorized" } },
      "x-kubernetes-action": "post",
    },
  };
  const document = {
    swagger: "2.0",
    info: { title: "sample", version: "v1" },
    paths: { "/apis/g/v1/flunders": item, "/apis/g/v1beta1/flunders": {}, "/version/": {} },
    definitions: { Flunder: { properties: { spec: ref("Spec") } }, Spec: { type: "object" }, Other: {} },
  };
  const moved = { $ref: "#/components/schemas/Flunder" };
  assert.deepEqual(openApiV3From(document, "/apis/g/v1"), {
    openapi: "3.0.0",
    info: { title: "sample", version: "v1" },
    paths: {
      "/apis/g/v1/flunders": {
        parameters: [{ name: "pretty", in: "query", schema: { type: "string", uniqueItems: true } }],
        post: {
          operationId: "create",
          parameters: [
            { name: "namespace", in: "path", description: "where", required: true, schema: { type: "string" } },
          ],
          requestBody: {
            content: { "application/json": { schema: moved }, "application/yaml": { schema: moved } },
            required: true,
          },
          responses: {
            201: { description: "Created", content: { "application/json": { schema: moved } } },
            401: { description: "Unauthorized" },
          },
          "x-kubernetes-action": "post",
        },
      },
    },
    components: {
      schemas: {
        Flunder: { properties: { spec: { $ref: "#/components/schemas/Spec" } } },
        Spec: { type: "object" },
      },
    },
  });
});
