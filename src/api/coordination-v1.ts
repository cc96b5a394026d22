import { ageColumn, text } from "./columns.ts";
import { type Lease, leases } from "./generated/coordination-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { validateLease } from "./validation/others.ts";

/** Coordinated leader election is off by default. */
function dropElection({ spec }: Lease, old?: Lease): void {
  for (const field of ["strategy", "preferredHolder"] as const) {
    if (spec?.[field] !== undefined && old?.spec?.[field] === undefined) delete spec[field];
  }
}

export const coordinationV1: readonly KindEntry[] = [
  kind(leases, {
    columns: [text("Holder", ({ spec }) => spec?.holderIdentity ?? ""), ageColumn],
    strategy: {
      prepareForCreate: (lease) => dropElection(lease),
      prepareForUpdate: dropElection,
      validate: validateLease,
      allowCreateOnUpdate: true,
      allowUnconditionalUpdate: false,
    },
    // All nodes renew at the same moments: one commit for all keeps an idle cluster from writing.
    storage: { gather: { namespace: "kube-node-lease", windowMs: 100 } },
  }),
];
