import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDuration } from "../../../src/machinery/duration.ts";
import { parseFieldSelector } from "../../../src/machinery/field-selector.ts";
import { hasFormat } from "../../../src/machinery/formats.ts";
import { parseLabelSelector } from "../../../src/machinery/label-selector.ts";
import { dns1123Subdomain, qualifiedName, relaxedEnvVarName } from "../../../src/machinery/names.ts";
import { parseQuantity } from "../../../src/machinery/quantity.ts";
import { applyStrategicMergePatch } from "../../../src/machinery/strategic-merge.ts";
import { canonicalTime } from "../../../src/machinery/time-text.ts";
import { cpuMs } from "../../support/cpu-time.ts";
import { podSchema } from "./pod-schema.ts";

/** One request may be three megabytes; whatever reads it must not take more than linear time. */
const long = 300_000;

test("long texts are read or refused in linear time", () => {
  const readers: [string, (text: string) => unknown][] = [
    ["quantity", parseQuantity],
    ["duration", parseDuration],
    ["label selector", parseLabelSelector],
    ["field selector", parseFieldSelector],
    ["subdomain", dns1123Subdomain],
    ["qualified name", qualifiedName],
    ["variable", relaxedEnvVarName],
    ["time", canonicalTime],
    ...["email", "byte", "hostname", "uri", "mac", "uuid", "cidr"].map(
      (format): [string, (text: string) => unknown] => [format, (text) => hasFormat(format, text)],
    ),
  ];
  const texts = ["1", "a", "a.", "a-", "=", "!", "\\\\", "(", ",", "1.", "a@"].map(
    (part) => `${part.repeat(long)}\u00e9`,
  );
  for (const [name, read] of readers) {
    for (const text of texts) {
      const tookMs = cpuMs(() => {
        try {
          read(text);
        } catch {
          // Refusing is as good as reading.
        }
      });
      assert.ok(tookMs < 2000, `${name} on ${text.slice(0, 4)}… took ${tookMs} ms`);
    }
  }
});

test("a strategic merge of long lists takes no quadratic time", () => {
  const containers = Array.from({ length: 20_000 }, (_, i) => ({ name: `c${i}` }));
  const tookMs = cpuMs(
    () => void applyStrategicMergePatch(podSchema, { spec: { containers } }, { spec: { containers } }),
  );
  assert.ok(tookMs < 3000, `${tookMs} ms`);
});
