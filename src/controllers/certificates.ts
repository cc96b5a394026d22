import { type SubjectAccessReview, subjectAccessReviews } from "../api/generated/authorization-v1.ts";
import { type CertificateSigningRequest, certificateSigningRequests } from "../api/generated/certificates-v1.ts";
import { formatTime } from "../machinery/clock.ts";
import { StatusError } from "../machinery/status.ts";
import {
  authorityOf,
  hasCondition,
  kubeletClientSigner,
  lifetimeMs,
  type RequestView,
  removalMs,
  whyNoKubeletClient,
  whyNotSigned,
} from "./certificate-plan.ts";
import { type CertificateAuthority, type ControllerFactory, watch } from "./controller.ts";
import { mutable } from "./shared/owned.ts";

/** Kinds of requests that are approved without a person, by the permission that their author needs. */
const approvals = [
  {
    subresource: "selfnodeclient",
    self: true,
    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
  },
  {
    subresource: "nodeclient",
    self: false,
    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
  },
] as const;

/** Approves kubelets' certificate requests, signs approved ones with the cluster's authorities, and removes old ones. */
export const certificateController: ControllerFactory = {
  name: "certificate-controller",
  create({ client, clock, informers, config, logger }) {
    const requests = informers.of(certificateSigningRequests);
    const textOf = ({ spec }: RequestView) => Buffer.from(spec?.request ?? "", "base64").toString();

    const allows = async ({ spec }: RequestView, subresource: string, signal: AbortSignal): Promise<boolean> => {
      const {
        username = "",
        uid,
        groups,
        extra,
      } = structuredClone(spec ?? {}) as CertificateSigningRequest["spec"] & {
        username?: string;
      };
      const resourceAttributes = {
        group: certificateSigningRequests.group,
        resource: certificateSigningRequests.resource,
        verb: "create",
        version: "*",
        subresource,
      };
      const review: SubjectAccessReview = {
        metadata: {},
        spec: {
          user: username,
          ...(uid ? { uid } : {}),
          ...(groups ? { groups } : {}),
          ...(extra ? { extra } : {}),
          resourceAttributes,
        },
      };
      const { status } = await client.createSubresource<SubjectAccessReview>(subjectAccessReviews, "", "", review, {
        signal,
      });
      return status?.allowed === true;
    };

    const approve = async (request: RequestView, authority: CertificateAuthority, signal: AbortSignal) => {
      if (request.spec?.signerName !== kubeletClientSigner) return;
      const facts = await authority.inspect(textOf(request));
      if (whyNoKubeletClient(facts, request.spec.usages ?? [])) return;
      const tried: string[] = [];
      for (const { subresource, self, message } of approvals) {
        if (self && request.spec.username !== facts.commonName) continue;
        tried.push(subresource);
        if (!(await allows(request, subresource, signal))) continue;
        const now = formatTime(clock.now());
        const next = mutable<CertificateSigningRequest>(request);
        const approved = { type: "Approved", status: "True", reason: "AutoApproved", message };
        next.status = {
          ...next.status,
          conditions: [
            ...(next.status?.conditions ?? []),
            { ...approved, lastUpdateTime: now, lastTransitionTime: now },
          ],
        };
        await client.update(certificateSigningRequests, next, { subresource: "approval", signal });
        return;
      }
      // Nothing more can be done until a person decides or the author is allowed to ask.
      logger.warn(
        { request: request.metadata.name, tried },
        "Certificate request is recognized, but its author may not have it approved",
      );
    };

    const sign = async (request: RequestView, authority: CertificateAuthority, signal: AbortSignal) => {
      const signerName = request.spec?.signerName ?? "";
      const which = authorityOf(signerName);
      if (!which || request.status?.certificate || hasCondition(request, "Failed")) return;
      const text = textOf(request);
      const usages = request.spec?.usages ?? [];
      const next = mutable<CertificateSigningRequest>(request);
      const why = whyNotSigned(signerName, await authority.inspect(text), usages);
      if (why) {
        const now = formatTime(clock.now());
        const failed = { type: "Failed", status: "True", reason: "SignerValidationFailure", message: why };
        next.status = {
          ...next.status,
          conditions: [...(next.status?.conditions ?? []), { ...failed, lastUpdateTime: now, lastTransitionTime: now }],
        };
      } else {
        const pem = await authority.sign(text, { authority: which, usages, lifetimeMs: lifetimeMs(request) });
        next.status = { ...next.status, certificate: Buffer.from(pem).toString("base64") };
      }
      await client.update(certificateSigningRequests, next, { subresource: "status", signal });
    };

    return {
      watches: [watch(requests, ({ metadata }) => [metadata.name ?? ""])],
      async reconcile(key, signal) {
        const request = requests.get(key);
        if (!request) return undefined;
        const leftMs = removalMs(request) - clock.now();
        if (leftMs <= 0) {
          const { uid } = request.metadata;
          try {
            await client.delete(certificateSigningRequests, key, {
              ...(uid ? { preconditions: { uid } } : {}),
              signal,
            });
          } catch (error) {
            if (!(error instanceof StatusError && (error.code === 404 || error.code === 409))) throw error;
          }
          return undefined;
        }
        const authority = config.certificateAuthority;
        if (authority) {
          if (hasCondition(request, "Approved")) await sign(request, authority, signal);
          else if (!hasCondition(request, "Denied") && !request.status?.certificate) {
            await approve(request, authority, signal);
          }
        }
        return Number.isFinite(leftMs) ? { requeueAfterMs: leftMs } : undefined;
      },
    };
  },
};
