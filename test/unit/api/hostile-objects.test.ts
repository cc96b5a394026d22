/** Objects of every kind with anything in any field: what decodes is judged by its kind's rules, which never break on it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { builtInResources } from "../../../src/api/registry.ts";
import { decodeObject, defaultObject } from "../../../src/apiserver/verbs/decode.ts";
import { cloneJson, JsonError, parseJson, stringifyJson } from "../../../src/machinery/json.ts";
import type { KubeObject } from "../../../src/machinery/object.ts";
import { StatusError } from "../../../src/machinery/status.ts";
import { mutated } from "../../fuzz/mutate.ts";
import { Random } from "../../fuzz/random.ts";
import { seeds } from "../../fuzz/seeds.ts";

/** Changed objects of each kind; always the same ones, so that a failure shows again. */
const objectsPerKind = 250;

describe("any object of a kind", () => {
  for (const facts of builtInResources) {
    const path = `${facts.group}/${facts.version}/${facts.resource}`;
    const seed = Object.hasOwn(seeds, path) ? seeds[path] : undefined;
    if (!seed) continue;

    const decoded = (value: unknown): KubeObject => {
      const object = decodeObject(facts, parseJson(stringifyJson(value)), { texts: [] });
      defaultObject(facts, object);
      return object;
    };

    const named = { metadata: { name: "a", ...(facts.namespaced ? { namespace: "fuzz-1" } : {}) }, ...seed };

    test(`${facts.kind} of ${path}: what the fuzz run starts from is valid`, () => {
      const object = decoded(named);
      facts.strategy.prepareForCreate?.(object, { name: "eve", groups: [] });
      assert.deepEqual(facts.strategy.validate?.(object) ?? [], []);
    });

    test(`${facts.kind} of ${path} is refused with 400, or defaulted once and for all and judged without an error`, () => {
      const { strategy } = facts;
      for (let number = 0; number < objectsPerKind; number++) {
        const body = mutated(named, new Random(number));
        let object: KubeObject;
        try {
          object = decoded(body);
        } catch (error) {
          if (error instanceof JsonError) continue;
          assert.ok(error instanceof StatusError && error.code === 400, `${number}: ${(error as Error).stack}`);
          continue;
        }
        assert.deepEqual(decoded(object), object, `${number}: defaults are complete`);
        const [made, next] = [cloneJson(object), cloneJson(object)];
        strategy.prepareForCreate?.(made, { name: "eve", groups: [] });
        // What is refused is not warned of.
        if ((strategy.validate?.(made) ?? []).length === 0) strategy.warnings?.(made);
        strategy.prepareForUpdate?.(next, made);
        strategy.validateUpdate?.(next, made);
        for (const column of facts.columns) column.value(made, 0);
        for (const field of Object.values(facts.selectableFields)) assert.equal(typeof field(made), "string");
      }
    });
  }
});
