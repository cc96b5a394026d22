import { type CertificateSigningRequest, certificateSigningRequests } from "../../api/generated/certificates-v1.ts";
import type { AdmissionAttributes, AdmissionPlugin, Authorizer } from "../request.ts";
import { refusedBy } from "./kinds.ts";

/** Approving a request needs the verb `approve` for its signer, and putting a certificate into it the verb `sign`. */
export function certificateApproval(authorize: Authorizer): AdmissionPlugin {
  const may = async ({ user }: AdmissionAttributes, verb: string, signer: string) => {
    const ask = async (name: string) => {
      const of = { group: certificateSigningRequests.group, version: "v1", resource: "signers" };
      return (await authorize({ user, verb, ...of, name })).allowed;
    };
    return (await ask(signer)) || (await ask(`${signer.split("/")[0]}/*`));
  };
  return {
    name: "CertificateApproval",
    async validate(attributes) {
      const { facts, subresource, operation } = attributes;
      if (facts.group !== certificateSigningRequests.group || facts.resource !== certificateSigningRequests.resource)
        return;
      if (operation !== "UPDATE") return;
      const old = attributes.oldObject as CertificateSigningRequest | undefined;
      const next = attributes.object as CertificateSigningRequest | undefined;
      const signer = old?.spec?.signerName ?? "";
      const quoted = JSON.stringify(signer);
      if (subresource === "approval" && !(await may(attributes, "approve", signer))) {
        throw refusedBy(attributes, `user not permitted to approve requests with signerName ${quoted}`);
      }
      const signs = subresource === "status" && (next?.status?.certificate ?? "") !== (old?.status?.certificate ?? "");
      if (signs && !(await may(attributes, "sign", signer))) {
        throw refusedBy(attributes, `user not permitted to sign requests with signerName ${quoted}`);
      }
    },
  };
}
