import type { ServiceSpec } from "../../api/generated/core-v1.ts";
import { parseIp } from "../../machinery/cidr.ts";
import { type FieldError, fieldError } from "../../machinery/status.ts";

export type IpFamily = "IPv4" | "IPv6";

const other = (family: IpFamily): IpFamily => (family === "IPv4" ? "IPv6" : "IPv4");

export const familyOf = (ip: string): IpFamily | undefined => {
  const parsed = parseIp(ip);
  return parsed && (parsed.family === 4 ? "IPv4" : "IPv6");
};

/**
 * Fills ipFamilyPolicy and ipFamilies of a Service that needs cluster addresses (or is headless), from what it asks for
 * and what the cluster has. Returns what cannot be. `cluster` lists the cluster's families, the default one first.
 */
export function settleFamilies(spec: ServiceSpec, cluster: readonly IpFamily[]): FieldError[] {
  const headless = spec.clusterIP === "None" || spec.clusterIPs?.[0] === "None";
  const families = [...(spec.ipFamilies ?? [])] as IpFamily[];
  const errors: FieldError[] = [];
  const dualCluster = cluster.length > 1;
  // Without a selector the endpoints come from elsewhere: they may be of families that the cluster lacks.
  const foreign = headless && Object.keys(spec.selector ?? {}).length === 0;

  for (const [index, family] of families.entries()) {
    if (!foreign && !cluster.includes(family)) {
      errors.push(fieldError.invalid(`spec.ipFamilies[${index}]`, family, "not configured on this cluster"));
    }
  }
  if (spec.ipFamilyPolicy === "RequireDualStack" && !dualCluster && !foreign) {
    const text = "this cluster is not configured for dual-stack services";
    errors.push(fieldError.invalid("spec.ipFamilyPolicy", spec.ipFamilyPolicy, text));
  }
  if (spec.ipFamilyPolicy === "SingleStack" && families.length > 1) {
    const text = "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified";
    errors.push(fieldError.invalid("spec.ipFamilyPolicy", spec.ipFamilyPolicy, text));
  }
  if (errors.length > 0) return errors;

  // Addresses that were chosen say their family.
  for (const [index, ip] of (spec.clusterIPs ?? []).entries()) {
    const family = familyOf(ip);
    if (!family) continue;
    if (families[index] === undefined) families[index] = family;
    else if (families[index] !== family) {
      errors.push(
        fieldError.invalid(
          `spec.clusterIPs[${index}]`,
          ip,
          `expected an ${families[index]} value as indicated by \`ipFamilies[${index}]\``,
        ),
      );
    }
  }
  if (errors.length > 0) return errors;

  spec.ipFamilyPolicy ??=
    families.length > 1 || (foreign && spec.ipFamilies === undefined) ? "RequireDualStack" : "SingleStack";
  if (families.length === 0) families.push(cluster[0]!);
  const wantsTwo = spec.ipFamilyPolicy !== "SingleStack" && (dualCluster || foreign);
  if (wantsTwo && families.length === 1) families.push(other(families[0]!));
  if (spec.ipFamilyPolicy === "SingleStack") families.length = 1;
  spec.ipFamilies = families;
  return [];
}
