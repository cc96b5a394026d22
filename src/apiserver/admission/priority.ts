import { type Pod, pods } from "../../api/generated/core-v1.ts";
import { type PriorityClass, priorityClasses } from "../../api/generated/scheduling-v1.ts";
import type { Client } from "../../client/client.ts";
import { StatusError } from "../../machinery/status.ts";
import type { AdmissionPlugin } from "../request.ts";
import { isAbout, refusedBy } from "./kinds.ts";

/** Classes that every cluster has. */
const systemClasses: readonly PriorityClass[] = [
  {
    metadata: { name: "system-node-critical" },
    value: 2_000_001_000,
    description: "Used for system critical pods that must not be moved from their current node.",
    preemptionPolicy: "PreemptLowerPriority",
  },
  {
    metadata: { name: "system-cluster-critical" },
    value: 2_000_000_000,
    description:
      "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    preemptionPolicy: "PreemptLowerPriority",
  },
];

/** Makes the system's priority classes where they are missing. */
export async function ensureSystemPriorityClasses(client: Client): Promise<void> {
  await Promise.all(
    systemClasses.map((wanted) =>
      client.create(priorityClasses, wanted).catch((error: unknown) => {
        if (!(error instanceof StatusError && error.code === 409)) throw error;
      }),
    ),
  );
}

/** Resolves a pod's priority class to its number; at most one class is everyone's default. */
export function priority(client: Client): AdmissionPlugin {
  const byName = async (name: string): Promise<PriorityClass | undefined> => {
    try {
      return await client.get(priorityClasses, name);
    } catch (error) {
      if (!(error instanceof StatusError && error.code === 404)) throw error;
      return systemClasses.find(({ metadata }) => metadata.name === name);
    }
  };
  const defaultClass = async (): Promise<PriorityClass | undefined> => {
    const all = (await client.list(priorityClasses, { resourceVersion: "0" })).items.filter((one) => one.globalDefault);
    return all.sort((a, b) => (a.value ?? 0) - (b.value ?? 0))[0];
  };
  return {
    name: "Priority",
    async admit(attributes) {
      if (!isAbout(attributes, pods, "CREATE")) return;
      const { spec }: Pod = attributes.object;
      if (!spec) return;
      const wanted = spec.priorityClassName;
      const found = wanted ? await byName(wanted) : await defaultClass();
      if (wanted && !found) throw refusedBy(attributes, `no PriorityClass with name ${wanted} was found`);
      const value = found?.value ?? 0;
      if (spec.priority !== undefined && spec.priority !== value) {
        throw refusedBy(
          attributes,
          `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${value} from the given PriorityClass name`,
        );
      }
      if (found?.metadata.name && !wanted) spec.priorityClassName = found.metadata.name;
      spec.priority = value;
      const policy = found?.preemptionPolicy ?? "PreemptLowerPriority";
      if (spec.preemptionPolicy !== undefined && spec.preemptionPolicy !== policy) {
        throw refusedBy(
          attributes,
          `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in pod spec; priority admission controller computed ${policy} from the given PriorityClass name`,
        );
      }
      spec.preemptionPolicy = policy;
    },
    async validate(attributes) {
      if (!isAbout(attributes, priorityClasses, "CREATE", "UPDATE")) return;
      if (!(attributes.object as PriorityClass).globalDefault) return;
      const other = await defaultClass();
      if (other && other.metadata.name !== attributes.object.metadata.name) {
        throw refusedBy(
          attributes,
          `PriorityClass ${other.metadata.name} is already marked as default. Only one default can exist`,
        );
      }
    },
  };
}
