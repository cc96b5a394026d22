import type {
  MutatingWebhook,
  MutatingWebhookConfiguration,
  ValidatingWebhook,
  ValidatingWebhookConfiguration,
} from "../../../api/generated/admissionregistration-v1.ts";
import type { LabelSelector } from "../../../api/generated/meta-v1.ts";
import { fromLabelSelector, type Selector } from "../../../machinery/label-selector.ts";
import type { DeepReadonly } from "../../../machinery/object.ts";

type Configuration = DeepReadonly<MutatingWebhookConfiguration | ValidatingWebhookConfiguration>;

/** One webhook of a configuration, with its selectors read. */
export interface Hook {
  readonly name: string;
  /** The same for a webhook from one change of its configuration to the next. */
  readonly id: string;
  readonly spec: DeepReadonly<MutatingWebhook | ValidatingWebhook>;
  /** Absent: requests of every namespace, or about every object. */
  readonly namespaceSelector: Selector | undefined;
  readonly objectSelector: Selector | undefined;
  readonly timeoutMs: number;
  /** Failures to call it let the request pass. */
  readonly failsOpen: boolean;
  readonly equivalent: boolean;
  /** It wants to see the object again when others changed it. */
  readonly again: boolean;
}

const defaultTimeoutSeconds = 10;

/** All webhooks in the order in which they are called: by the names of their configurations. */
export function compileHooks(configurations: readonly Configuration[]): Hook[] {
  const name = ({ metadata }: Configuration) => metadata.name ?? "";
  const sorted = [...configurations].sort((a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0));
  return sorted.flatMap((configuration) =>
    (configuration.webhooks ?? []).map((spec, index) =>
      compileHook(spec, `${name(configuration)}/${spec.name}/${index}`),
    ),
  );
}

function compileHook(spec: Hook["spec"], id: string): Hook {
  return {
    name: spec.name ?? "",
    id,
    spec,
    namespaceSelector: selectorOf(spec.namespaceSelector),
    objectSelector: selectorOf(spec.objectSelector),
    timeoutMs: (spec.timeoutSeconds ?? defaultTimeoutSeconds) * 1000,
    failsOpen: spec.failurePolicy === "Ignore",
    equivalent: spec.matchPolicy !== "Exact",
    again: "reinvocationPolicy" in spec && spec.reinvocationPolicy === "IfNeeded",
  };
}

function selectorOf(selector: DeepReadonly<LabelSelector> | undefined): Selector | undefined {
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {};
  if (Object.keys(matchLabels).length + matchExpressions.length === 0) return undefined;
  return fromLabelSelector(selector as LabelSelector);
}
