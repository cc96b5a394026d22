import type { KubeObject } from "../machinery/object.ts";
import { ageColumn, formatSelector, integer, text } from "./columns.ts";
import {
  type MatchResources,
  type MutatingWebhook,
  mutatingAdmissionPolicies,
  mutatingAdmissionPolicyBindings,
  mutatingWebhookConfigurations,
  type ParamKind,
  type ParamRef,
  type ValidatingWebhook,
  validatingAdmissionPolicies,
  validatingAdmissionPolicyBindings,
  validatingWebhookConfigurations,
} from "./generated/admissionregistration-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { validateWebhooks, validateWebhooksUpdate } from "./validation/webhooks.ts";

const categories = ["api-extensions"];

function defaultWebhook(webhook: ValidatingWebhook | MutatingWebhook): void {
  webhook.failurePolicy ??= "Fail";
  webhook.matchPolicy ??= "Equivalent";
  webhook.namespaceSelector ??= {};
  webhook.objectSelector ??= {};
  webhook.timeoutSeconds ??= 10;
  for (const rule of webhook.rules ?? []) rule.scope ??= "*";
  if (webhook.clientConfig?.service) webhook.clientConfig.service.port ??= 443;
}

function defaultMatch(match: MatchResources | undefined): void {
  if (!match) return;
  match.matchPolicy ??= "Equivalent";
  match.namespaceSelector ??= {};
  match.objectSelector ??= {};
  for (const rule of [...(match.resourceRules ?? []), ...(match.excludeResourceRules ?? [])]) rule.scope ??= "*";
}

function defaultPolicy(spec: { failurePolicy?: string; matchConstraints?: MatchResources } | undefined): void {
  if (!spec) return;
  spec.failurePolicy ??= "Fail";
  defaultMatch(spec.matchConstraints);
}

function paramKind(param: ParamKind | undefined): string {
  return param ? `${param.apiVersion}/${param.kind}` : "<unset>";
}

function paramRef(param: ParamRef | undefined): string {
  if (param?.name) return `${param.namespace || "*"}/${param.name}`;
  return param?.selector ? formatSelector(param.selector) : "<unset>";
}

/** The suffix belongs to configurations that a server reads from files. */
const staticSuffix = ".static.k8s.io";

const warnings = ({ metadata }: KubeObject) =>
  metadata.name?.endsWith(staticSuffix)
    ? [
        `metadata.name: names ending with ${JSON.stringify(staticSuffix)} are reserved for static manifest-based configurations and cannot be managed via the API`,
      ]
    : [];

const checks = { validate: validateWebhooks, validateUpdate: validateWebhooksUpdate };

const common = { generation: true, allowUnconditionalUpdate: false, warnings } as const;

export const admissionregistrationV1: readonly KindEntry[] = [
  kind(mutatingWebhookConfigurations, {
    categories,
    columns: [integer("Webhooks", ({ webhooks }) => webhooks?.length), ageColumn],
    strategy: {
      ...common,
      counted: ({ webhooks }) => webhooks,
      applyDefaults({ webhooks }) {
        for (const webhook of webhooks ?? []) {
          defaultWebhook(webhook);
          webhook.reinvocationPolicy ??= "Never";
        }
      },
      ...checks,
    },
  }),
  kind(validatingWebhookConfigurations, {
    categories,
    columns: [integer("Webhooks", ({ webhooks }) => webhooks?.length), ageColumn],
    strategy: {
      ...common,
      counted: ({ webhooks }) => webhooks,
      applyDefaults: ({ webhooks }) => webhooks?.forEach(defaultWebhook),
      ...checks,
    },
  }),
  kind(validatingAdmissionPolicies, {
    categories,
    columns: [
      integer("Validations", ({ spec }) => spec?.validations?.length),
      text("ParamKind", ({ spec }) => paramKind(spec?.paramKind)),
      ageColumn,
    ],
    strategy: { ...common, applyDefaults: ({ spec }) => defaultPolicy(spec) },
  }),
  kind(validatingAdmissionPolicyBindings, {
    categories,
    columns: [
      text("PolicyName", ({ spec }) => spec?.policyName ?? ""),
      text("ParamRef", ({ spec }) => paramRef(spec?.paramRef)),
      ageColumn,
    ],
    strategy: { ...common, applyDefaults: ({ spec }) => defaultMatch(spec?.matchResources) },
  }),
  kind(mutatingAdmissionPolicies, {
    categories,
    columns: [
      integer("Mutations", ({ spec }) => spec?.mutations?.length),
      text("ParamKind", ({ spec }) => paramKind(spec?.paramKind)),
      ageColumn,
    ],
    strategy: { ...common, applyDefaults: ({ spec }) => defaultPolicy(spec) },
  }),
  kind(mutatingAdmissionPolicyBindings, {
    categories,
    columns: [
      text("PolicyName", ({ spec }) => spec?.policyName ?? ""),
      text("ParamRef", ({ spec }) => paramRef(spec?.paramRef)),
      ageColumn,
    ],
    strategy: { ...common, applyDefaults: ({ spec }) => defaultMatch(spec?.matchResources) },
  }),
];
