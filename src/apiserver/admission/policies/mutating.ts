import type {
  MutatingAdmissionPolicy,
  MutatingAdmissionPolicyBinding,
} from "../../../api/generated/admissionregistration-v1.ts";
import type { CelValue } from "../../../machinery/cel/values.ts";
import { deepEqual } from "../../../machinery/equality.ts";
import { cloneJson } from "../../../machinery/json.ts";
import { type KubeObject, keyOf } from "../../../machinery/object.ts";
import { notBuilt, type StatusCause, StatusError } from "../../../machinery/status.ts";
import type { AdmissionAttributes, AdmissionPlugin, Authorizer } from "../../request.ts";
import { convertBetween } from "../equivalents.ts";
import { replaceContent } from "../webhooks/admission-review.ts";
import { AccessAnswers } from "./access-answers.ts";
import { applyChange } from "./apply-change.ts";
import type { EvaluationInput } from "./evaluation.ts";
import type { Mutations } from "./mutations.ts";
import type { PolicySource } from "./policy-source.ts";
import {
  type Invocation,
  isBeyondPolicies,
  namespaceObjectOf,
  refusal,
  type SelectionOptions,
  select,
  shownAs,
} from "./selection.ts";

export type MutatingSource = PolicySource<MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, Mutations>;
type Mutating = Invocation<MutatingAdmissionPolicy, Mutations>;

const name = "MutatingAdmissionPolicy";

/** What the first round leaves for the second. */
interface Notes {
  /** Policies that want to see the object again, and saw it since it was last changed. */
  seen: Set<string>;
  /** Policies that see it again. */
  readonly again: Set<string>;
  /** The object as the policies left it. */
  left: KubeObject | undefined;
}

interface Fault {
  readonly message: string;
  /** Absent: as of any refusal. */
  readonly reason?: string;
}

/** Lets MutatingAdmissionPolicies change what is to be written, one after the other. */
export function mutatingPolicies(
  source: MutatingSource,
  options: SelectionOptions & { readonly authorize: Authorizer },
): AdmissionPlugin {
  async function admit(attributes: AdmissionAttributes): Promise<void> {
    // What is deleted cannot be changed; rules for all operations do not mean it either.
    if (attributes.operation === "DELETE" || isBeyondPolicies(attributes)) return;
    const bound = source.bound();
    const policies = "then" in bound ? await bound : bound;
    if (policies.length === 0) return;
    const faults: Fault[] = [];
    const invocations = await select(policies, attributes, options, (policy, binding, message) => {
      if (policy.failsOpen) return;
      const subject = binding ? `policy '${policy.name}' with binding '${binding.name}'` : `policy "${policy.name}"`;
      faults.push({ message: `${subject} denied request: ${message}` });
    });
    if (invocations.length > 0) await invokeAll(invocations, attributes, faults);
    if (faults.length > 0) throw denial(attributes, faults);
  }

  async function invokeAll(invocations: readonly Mutating[], attributes: AdmissionAttributes, faults: Fault[]) {
    const { rounds, object } = attributes;
    const notes = notesOf(attributes);
    const repeated = rounds?.round === 2;
    // Others have changed it since: whoever wants to see that sees it again.
    if (repeated && !deepEqual(notes.left, object)) requireAgain(notes);
    const namespace = await namespaceObjectOf(attributes, options.client);
    const access = new AccessAnswers(options.authorize, attributes.user);
    for (const invocation of invocations) {
      const { policy, binding, parameter } = invocation;
      const fault = (error: unknown) => {
        if (policy.failsOpen) return;
        const text = `policy '${policy.name}' with binding '${binding.name}' denied request: ${(error as Error).message}`;
        faults.push({ message: text, reason: "Invalid" });
      };
      const compiled = await policy.compiled();
      const input = async () => ({
        attributes: await shownAs(attributes, invocation.facts),
        asked: attributes,
        access,
        namespace,
        params: parameter as CelValue,
      });
      try {
        if (!(await compiled.concern(await input()))) continue;
      } catch (error) {
        fault(error);
        continue;
      }
      const key = `${policy.name} ${binding.name} ${parameter ? keyOf(parameter) : ""}`;
      if (repeated && !notes.again.has(key)) continue;
      if (!object && compiled.count > 0) throw notBuilt("Changing the options of a connection by policy");
      if (object && (await mutate(compiled, input, attributes, fault))) {
        requireAgain(notes);
        if (rounds) rounds.again = true;
      }
      if (policy.spec.reinvocationPolicy === "IfNeeded") notes.seen.add(key);
    }
    notes.left = object && cloneJson(object);
  }

  return { name, admit };
}

/** Makes the changes of one policy; true: the object is another one now. */
async function mutate(
  compiled: Mutations,
  input: () => Promise<Omit<EvaluationInput, "variables">>,
  asked: AdmissionAttributes,
  fault: (error: unknown) => void,
): Promise<boolean> {
  let changed = false;
  for (let index = 0; index < compiled.count; index++) {
    try {
      const given = await input();
      const next = applyChange(given.attributes, await compiled.change(index, given));
      if (!next || deepEqual(next, given.attributes.object)) continue;
      const shown = given.attributes.facts;
      replaceContent(asked.object!, shown === asked.facts ? next : await convertBetween(shown, asked.facts, next));
      changed = true;
    } catch (error) {
      if (error instanceof StatusError) throw error;
      fault(error);
    }
  }
  return changed;
}

function notesOf({ rounds }: AdmissionAttributes): Notes {
  const notes = (rounds?.notes.get(name) as Notes | undefined) ?? {
    seen: new Set(),
    again: new Set(),
    left: undefined,
  };
  rounds?.notes.set(name, notes);
  return notes;
}

function requireAgain(notes: Notes): void {
  for (const key of notes.seen) notes.again.add(key);
  notes.seen = new Set();
}

function denial(attributes: AdmissionAttributes, faults: readonly Fault[]): StatusError {
  const { code, reason, details } = refusal(attributes, "admission request denied by policy");
  const causes: StatusCause[] = faults.map(({ message }) => ({ message }));
  const [first] = faults;
  return new StatusError(code, first!.reason ?? reason, first!.message, { ...details, causes });
}
