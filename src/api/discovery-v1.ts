import { ageColumn, firstThree, text } from "./columns.ts";
import { type Endpoint, endpointSlices } from "./generated/discovery-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { sameJson } from "./strategy.ts";
import { endpointSliceWarnings, validateEndpointSlice } from "./validation/endpoint-slice.ts";

/** "<unset>" where there is nothing to list, as for slices only. */
function list(entries: readonly string[]): string {
  return entries.length === 0 ? "<unset>" : firstThree(entries);
}

const hostname = "kubernetes.io/hostname";

/** A topology is of before v1: only the node's name is taken from one that the server has handed out itself. */
function dropTopology(endpoints: readonly Endpoint[], old: readonly Endpoint[] = []): void {
  if (!endpoints.some(({ deprecatedTopology }) => deprecatedTopology) || sameJson(endpoints, old)) return;
  const known = new Set(old.map(({ deprecatedTopology }) => deprecatedTopology?.[hostname]));
  for (const endpoint of endpoints) {
    const node = endpoint.deprecatedTopology?.[hostname];
    if (node && endpoint.nodeName === undefined && known.has(node)) endpoint.nodeName = node;
    delete endpoint.deprecatedTopology;
  }
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
      validateUpdate: validateEndpointSlice,
      ratchets: true,
      warnings: endpointSliceWarnings,
      prepareForCreate: ({ endpoints }) => dropTopology(endpoints ?? []),
      prepareForUpdate: ({ endpoints }, old) => dropTopology(endpoints ?? [], old.endpoints),
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
