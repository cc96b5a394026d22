/**
 * What Kubernetes v1.36 itself says of objects with one thing changed: golden/kinds.json was written by its own
 * strategies, for all built-in kinds. Of each kind it holds some rows only, one for each text where that is possible.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { KubeObject } from "../../../../src/machinery/object.ts";
import { type Any, created, defaulted, resource } from "../support.ts";

interface Row {
  /** Which of the bodies is changed. */
  readonly of: number;
  /** Is the change an update of the object that the body makes? */
  readonly update?: boolean;
  readonly at: readonly (string | number)[];
  /** Absent: what is there goes. */
  readonly value?: unknown;
  readonly errors?: readonly string[];
  readonly warnings?: readonly string[];
}

interface Golden {
  readonly bodies: readonly object[];
  readonly rows: readonly Row[];
}

const file = new URL("golden/kinds.json", import.meta.url);
const golden = JSON.parse(readFileSync(file, "utf8")) as Readonly<Record<string, Golden>>;

function changed(body: object, { at, ...row }: Row): object {
  const copy = structuredClone(body) as Any;
  const last = at.at(-1)!;
  const place = at.slice(0, -1).reduce((inner, key) => inner[key], copy);
  if ("value" in row) place[last] = structuredClone(row.value);
  else if (Array.isArray(place)) place.splice(Number(last), 1);
  else delete place[last];
  return copy;
}

function outcome(path: string, body: object, row: Row) {
  const { strategy } = resource(path);
  const old = row.update ? (created(path, body) as KubeObject) : undefined;
  const next: KubeObject = old ? defaulted(path, changed(old, row)) : created(path, changed(body, row));
  if (old) strategy.prepareForUpdate?.(next, old);
  const errors = [
    ...(old && strategy.ratchets ? [] : (strategy.validate?.(next) ?? [])),
    ...(old ? (strategy.validateUpdate?.(next, old) ?? []) : []),
  ].map(({ field, message }) => `${field}: ${message}`);
  return {
    errors: [...new Set(errors)].sort(),
    warnings: errors.length > 0 ? [] : (strategy.warnings?.(next, old) ?? []),
  };
}

for (const [path, { bodies, rows }] of Object.entries(golden)) {
  test(`${path} are held to the rules of Kubernetes`, () => {
    const { group, version, kind, namespaced } = resource(path);
    for (const row of rows) {
      const metadata = { name: "x1", ...(namespaced && { namespace: "default" }) };
      const given = bodies[row.of] as Partial<KubeObject>;
      const head = { apiVersion: group ? `${group}/${version}` : version, kind };
      const body = { ...head, ...given, metadata: { ...metadata, ...given.metadata } };
      const { errors, warnings } = outcome(path, body, row);
      assert.deepEqual(errors, row.errors ?? [], row.at.join("."));
      if (row.warnings) assert.deepEqual(warnings, row.warnings, row.at.join("."));
    }
  });
}
