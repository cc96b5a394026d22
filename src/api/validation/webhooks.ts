/** Configurations of admission webhooks. Their match conditions are checked at admission, which loads the expressions. */
import { fullyQualifiedName } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type {
  MutatingWebhook,
  MutatingWebhookConfiguration,
  ValidatingWebhook,
  ValidatingWebhookConfiguration,
} from "../generated/admissionregistration-v1.ts";
import { checkRuleWithOperations } from "./admission-rules.ts";
import { Errors } from "./errors.ts";
import { checkLabelSelector } from "./labels.ts";
import { checkClientConfig, checkReviewVersions, hasKnownReviewVersion } from "./webhook-client.ts";

type Configuration = MutatingWebhookConfiguration | ValidatingWebhookConfiguration;
type Webhook = MutatingWebhook | ValidatingWebhook;

/** What an update may leave as it was, since it was allowed once. */
interface Tolerance {
  readonly sideEffects: boolean;
  readonly reviewVersions: boolean;
  readonly sameNames: boolean;
}

const harmless = ["None", "NoneOnDryRun"];

export function validateWebhooks(configuration: Configuration): FieldError[] {
  return check(configuration, { sideEffects: false, reviewVersions: false, sameNames: false });
}

export function validateWebhooksUpdate(configuration: Configuration, old: Configuration): FieldError[] {
  const before: readonly Webhook[] = old.webhooks ?? [];
  return check(configuration, {
    sideEffects: before.some(({ sideEffects }) => !harmless.includes(sideEffects)),
    reviewVersions: before.some(
      ({ admissionReviewVersions: versions }) => versions?.length > 0 && !hasKnownReviewVersion(versions),
    ),
    sameNames: new Set(before.map(({ name }) => name)).size < before.length,
  });
}

function check({ webhooks = [] }: Configuration, tolerance: Tolerance): FieldError[] {
  const errors = new Errors();
  const names = new Set<string>();
  for (const [index, webhook] of webhooks.entries()) {
    const at = `webhooks[${index}]`;
    checkWebhook(errors, at, webhook, tolerance);
    const { name } = webhook;
    if (name && names.has(name) && !tolerance.sameNames) errors.duplicate(`${at}.name`, name);
    names.add(name);
  }
  return errors.list;
}

function checkWebhook(errors: Errors, at: string, webhook: Webhook, tolerance: Tolerance): void {
  const { name, rules, sideEffects, timeoutSeconds, admissionReviewVersions, clientConfig } = webhook;
  if (!name) errors.required(`${at}.name`);
  else {
    const messages = fullyQualifiedName(name);
    if (messages.length > 0) errors.invalid(`${at}.name`, name, messages.join(","));
  }
  for (const [index, rule] of (rules ?? []).entries()) checkRuleWithOperations(errors, `${at}.rules[${index}]`, rule);
  errors.optionalOneOf(`${at}.failurePolicy`, webhook.failurePolicy, ["Fail", "Ignore"]);
  errors.optionalOneOf(`${at}.matchPolicy`, webhook.matchPolicy, ["Equivalent", "Exact"]);
  const allowed = tolerance.sideEffects ? [...harmless, "Some", "Unknown"] : harmless;
  if (!sideEffects) errors.required(`${at}.sideEffects`, `must specify one of ${allowed.join(", ")}`);
  else if (!allowed.includes(sideEffects)) errors.notSupported(`${at}.sideEffects`, sideEffects, allowed);
  if (timeoutSeconds !== undefined && (timeoutSeconds < 1 || timeoutSeconds > 30)) {
    const text = "the timeout value must be between 1 and 30 seconds";
    errors.invalid(`${at}.timeoutSeconds`, timeoutSeconds, text);
  }
  checkLabelSelector(errors, `${at}.namespaceSelector`, webhook.namespaceSelector);
  checkLabelSelector(errors, `${at}.objectSelector`, webhook.objectSelector);
  if ("reinvocationPolicy" in webhook) {
    errors.optionalOneOf(`${at}.reinvocationPolicy`, webhook.reinvocationPolicy, ["IfNeeded", "Never"]);
  }
  checkClientConfig(errors, `${at}.clientConfig`, clientConfig ?? {});
  checkReviewVersions(errors, `${at}.admissionReviewVersions`, admissionReviewVersions ?? [], {
    known: !tolerance.reviewVersions,
    missing: "must specify one of v1, v1beta1",
  });
}
