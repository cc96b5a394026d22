/** Lists in pages, as the conformance tests of "API chunking" ask. */
import assert from "node:assert/strict";
import { podTemplates } from "../../src/api/generated/core-v1.ts";
import { conformance } from "./conformance.ts";

const total = 400;
const nameOf = (index: number) => `template-${String(index).padStart(4, "0")}`;

conformance(
  "[sig-api-machinery] Servers with support for API chunking should return chunks of results for list calls [Conformance]",
  async (_, { client, namespace }) => {
    const scope = { namespace };
    const template = { template: { spec: { containers: [{ name: "c", image: "i" }] } } };
    for (let at = 0; at < total; at += 50) {
      const names = Array.from({ length: 50 }, (_, index) => nameOf(at + index));
      await Promise.all(
        names.map((name) => client.create(podTemplates, { metadata: { name, namespace }, ...template }, scope)),
      );
    }
    const limit = 17;
    const first = await client.list(podTemplates, { ...scope, limit });
    let page = first;
    let found = 0;
    for (;;) {
      assert.equal(page.metadata.resourceVersion, first.metadata.resourceVersion);
      for (const { metadata } of page.items) assert.equal(metadata.name, nameOf(found++));
      if (!page.metadata.continue) break;
      assert.equal(page.items.length, limit);
      assert.equal(page.metadata.remainingItemCount, total - found);
      page = await client.list(podTemplates, { ...scope, limit, continue: page.metadata.continue });
    }
    assert.equal(page.metadata.remainingItemCount, undefined);
    assert.equal(found, total);
    assert.equal((await client.list(podTemplates, { ...scope, limit: total + 1 })).items.length, total);
  },
);
