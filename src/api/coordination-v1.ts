import { ageColumn, text } from "./columns.ts";
import { leases } from "./generated/coordination-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";

export const coordinationV1: readonly KindEntry[] = [
  kind(leases, {
    columns: [text("Holder", ({ spec }) => spec?.holderIdentity ?? ""), ageColumn],
    strategy: { allowCreateOnUpdate: true, allowUnconditionalUpdate: false },
    // All nodes renew at the same moments: one commit for all keeps an idle cluster from writing.
    storage: { gather: { namespace: "kube-node-lease", windowMs: 100 } },
  }),
];
