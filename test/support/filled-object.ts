import type { Schema } from "../../src/machinery/schema.ts";

/** Types that contain themselves stop here. */
const maxRepeats = 2;

const rawValues: Readonly<Record<string, unknown>> = {
  JSONSchemaPropsOrBool: true,
  JSONSchemaPropsOrArray: [{ type: "string" }, { type: "integer" }],
  JSONSchemaPropsOrStringArray: ["first", "second"],
  CustomResourceSubresourceStatus: {},
};

/** A value of a schema with every field set, no two texts alike, in canonical form. Integers use their whole range. */
export function filledObject(schema: Schema): Record<string, unknown> {
  let count = 0;
  const within: string[] = [];

  function fill(at: Schema): unknown {
    count++;
    switch (at.type) {
      case "object":
        return fillFields(at);
      case "map":
        return { [`key-${count}`]: fill(at.items!), 10: fill(at.items!), 9: fill(at.items!) };
      case "array":
        return [fill(at.items!), fill(at.items!)];
      case "string":
        return `text ${count} ü`;
      case "integer":
        if (at.format === "int64") return count % 2 === 0 ? 2n ** 63n - BigInt(count) : -(2 ** 40) - count;
        return count % 2 === 0 ? 2 ** 31 - count : -count;
      case "number":
        return count + 0.5;
      case "boolean":
        return true;
      case "quantity":
        return `${count}500m`;
      case "int-or-string":
        return count % 2 === 0 ? count : `${count}%`;
      case "time":
        return new Date(count * 1e9).toISOString().replace(/\.\d+/, "");
      case "micro-time":
        return new Date(count * 1e9).toISOString().replace(/\.\d+/, `.${String(count).padStart(6, "0")}`);
      case "bytes":
        return Buffer.from([0, 255, count % 256]).toString("base64");
      case "raw":
        return rawValues[at.name?.split(".").at(-1) ?? ""] ?? { "f:key": [count, null, "ü"] };
    }
  }

  function fillFields(at: Schema): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    const name = at.name ?? "";
    if (within.filter((outer) => outer === name).length >= maxRepeats) return object;
    within.push(name);
    for (const [key, field] of Object.entries(at.fields ?? {})) {
      // Type names of objects inside an object are not part of protobuf.
      if (field.proto !== undefined) object[key] = fill(field.schema);
    }
    within.pop();
    return object;
  }

  return fillFields(schema);
}
