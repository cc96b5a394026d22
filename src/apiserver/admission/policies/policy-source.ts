import type {
  MatchResources,
  MutatingAdmissionPolicy,
  MutatingAdmissionPolicyBinding,
  ParamRef,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
} from "../../../api/generated/admissionregistration-v1.ts";
import type { Client } from "../../../client/client.ts";
import { createInformer, type Informer } from "../../../client/informer.ts";
import type { Clock } from "../../../machinery/clock.ts";
import type { Logger } from "../../../machinery/log.ts";
import type { DeepReadonly, ResourceType } from "../../../machinery/object.ts";
import { type Constraints, readConstraints } from "./match-resources.ts";

export type Policy = ValidatingAdmissionPolicy | MutatingAdmissionPolicy;
export type Binding = ValidatingAdmissionPolicyBinding | MutatingAdmissionPolicyBinding;

export interface BoundPolicy<P extends Policy, C> {
  readonly name: string;
  readonly spec: DeepReadonly<NonNullable<P["spec"]>>;
  /** Absent: there are none, which is an error of the policy. */
  readonly constraints: Constraints | undefined;
  /** Errors let the request pass. */
  readonly failsOpen: boolean;
  readonly bindings: readonly PolicyBinding[];
  /** Its expressions, compiled when they are first needed. */
  compiled(): Promise<C>;
}

export interface PolicyBinding {
  readonly name: string;
  readonly paramRef: DeepReadonly<ParamRef> | undefined;
  /** Absent: all that the policy is for. */
  readonly constraints: Constraints | undefined;
  /** Of validating policies. */
  readonly actions: readonly string[];
}

interface PolicySourceOptions<P extends Policy, B extends Binding, C> {
  readonly policies: ResourceType<P>;
  readonly bindings: ResourceType<B>;
  readonly compile: (policy: DeepReadonly<P>) => Promise<C>;
  readonly client: Client;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * The policies of one kind that are bound, by name, read when one of them or of their bindings has changed. Follows them
 * from its first use.
 */
export class PolicySource<P extends Policy, B extends Binding, C> {
  readonly #options: PolicySourceOptions<P, B, C>;
  #informers: readonly [Informer<P>, Informer<B>] | undefined;
  #synced = false;
  #bound: readonly BoundPolicy<P, C>[] | undefined;
  /** What was compiled of each policy object, which never changes. */
  readonly #compiled = new WeakMap<object, Promise<C>>();

  constructor(options: PolicySourceOptions<P, B, C>) {
    this.#options = options;
  }

  /** What is known now; a promise only until the first state is there. */
  bound(): readonly BoundPolicy<P, C>[] | Promise<readonly BoundPolicy<P, C>[]> {
    if (this.#bound) return this.#bound;
    const informers = this.#follow();
    if (this.#synced) return this.#read(informers);
    return Promise.all(informers.map((informer) => informer.synced(this.#options.signal))).then(() => {
      this.#synced = true;
      return this.#bound ?? this.#read(informers);
    });
  }

  #follow(): readonly [Informer<P>, Informer<B>] {
    if (this.#informers) return this.#informers;
    const { client, clock, logger, signal, policies, bindings } = this.#options;
    const made = [
      createInformer(client, policies, { clock, logger }),
      createInformer(client, bindings, { clock, logger }),
    ] as const;
    const forget = () => {
      this.#bound = undefined;
    };
    for (const informer of made) {
      informer.on({ add: forget, update: forget, delete: forget });
      void informer.start(signal);
    }
    this.#informers = made;
    return made;
  }

  #read([policies, bindings]: readonly [Informer<P>, Informer<B>]): readonly BoundPolicy<P, C>[] {
    const byPolicy = new Map<string, DeepReadonly<B>[]>();
    for (const binding of bindings.list()) {
      const name = (binding as DeepReadonly<Binding>).spec?.policyName ?? "";
      const list = byPolicy.get(name);
      if (list) list.push(binding);
      else byPolicy.set(name, [binding]);
    }
    const bound = [...byPolicy.keys()].sort().flatMap((name) => {
      const policy = policies.get(name);
      return policy ? [this.#bind(name, policy, byPolicy.get(name)!)] : [];
    });
    this.#bound = bound;
    return bound;
  }

  #bind(name: string, policy: DeepReadonly<P>, bindings: DeepReadonly<B>[]): BoundPolicy<P, C> {
    const spec = ((policy as DeepReadonly<Policy>).spec ?? {}) as DeepReadonly<NonNullable<P["spec"]>>;
    const constraints = spec.matchConstraints as DeepReadonly<MatchResources> | undefined;
    return {
      name,
      spec,
      constraints: constraints && readConstraints(constraints),
      failsOpen: spec.failurePolicy === "Ignore",
      bindings: bindings.map(readBinding).sort((a, b) => (a.name < b.name ? -1 : 1)),
      compiled: () => {
        let compiled = this.#compiled.get(policy);
        if (!compiled) {
          compiled = this.#options.compile(policy);
          this.#compiled.set(policy, compiled);
        }
        return compiled;
      },
    };
  }
}

function readBinding({ metadata, spec }: DeepReadonly<Binding>): PolicyBinding {
  return {
    name: metadata.name ?? "",
    paramRef: spec?.paramRef,
    constraints: spec?.matchResources && readConstraints(spec.matchResources),
    actions: (spec && "validationActions" in spec && spec.validationActions) || [],
  };
}
