import { ageColumn, humanDuration, none, text } from "./columns.ts";
import { type CertificateSigningRequest, certificateSigningRequests } from "./generated/certificates-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { copyField } from "./strategy.ts";
import {
  keepDecisions,
  validateCertificateRequest,
  validateCertificateRequestUpdate,
} from "./validation/certificates.ts";

function state({ status }: CertificateSigningRequest): string {
  const has = (type: string) => status?.conditions?.some((condition) => condition.type === type) ?? false;
  const decision = has("Denied") ? "Denied" : has("Approved") ? "Approved" : "Pending";
  return `${decision}${has("Failed") ? ",Failed" : ""}${status?.certificate ? ",Issued" : ""}`;
}

export const certificatesV1: readonly KindEntry[] = [
  kind(certificateSigningRequests, {
    shortNames: ["csr"],
    columns: [
      ageColumn,
      text("SignerName", ({ spec }) => spec.signerName || none),
      text("Requestor", ({ spec }) => spec.username ?? ""),
      text("RequestedDuration", ({ spec }) => {
        return spec.expirationSeconds === undefined ? none : humanDuration(spec.expirationSeconds * 1000);
      }),
      text("Condition", state),
    ],
    selectableFields: { "spec.signerName": ({ spec }) => spec.signerName },
    strategy: {
      // Whatever they are called.
      validateName: () => [],
      ratchets: true,
      validate: validateCertificateRequest,
      validateUpdate: validateCertificateRequestUpdate,
      prepareForStatusUpdate: keepDecisions,
      // Who asks is for the API server to say, whatever was sent.
      prepareForCreate({ spec }, requestor) {
        for (const field of ["username", "uid", "groups", "extra"] as const) delete spec[field];
        if (!requestor) return;
        const { name, uid, groups, extra = {} } = requestor;
        spec.username = name;
        if (uid) spec.uid = uid;
        if (groups.length > 0) spec.groups = [...groups];
        if (Object.keys(extra).length > 0) spec.extra = structuredClone(extra) as Record<string, string[]>;
      },
      // What was asked for, and by whom, never changes.
      prepareForUpdate: (request, old) => copyField(request, old, "spec"),
    },
  }),
];
