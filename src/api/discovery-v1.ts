import { ageColumn, firstThree, text } from "./columns.ts";
import { endpointSlices } from "./generated/discovery-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { validateEndpointSlice, validateEndpointSliceUpdate } from "./validation/others.ts";

/** "<unset>" where there is nothing to list, as for slices only. */
function list(entries: readonly string[]): string {
  return entries.length === 0 ? "<unset>" : firstThree(entries);
}

export const discoveryV1: readonly KindEntry[] = [
  kind(endpointSlices, {
    columns: [
      text("AddressType", ({ addressType }) => addressType),
      text("Ports", ({ ports }) => list((ports ?? []).map((port) => String(port.port ?? (port.name || "*"))))),
      text("Endpoints", ({ endpoints }) => list((endpoints ?? []).flatMap((endpoint) => endpoint.addresses))),
      ageColumn,
    ],
    strategy: {
      generation: true,
      validate: validateEndpointSlice,
      validateUpdate: validateEndpointSliceUpdate,
      // Labels too: they say whose slice it is.
      counted: ({ endpoints, ports, addressType, metadata }) => [endpoints, ports, addressType, metadata.labels ?? {}],
      applyDefaults({ ports }) {
        for (const port of ports ?? []) {
          port.name ??= "";
          port.protocol ??= "TCP";
        }
      },
    },
  }),
];
