import { ageColumn, text } from "./columns.ts";
import {
  type DeviceClaim,
  deviceClasses,
  type ResourceClaim,
  resourceClaims,
  resourceClaimTemplates,
  resourceSlices,
} from "./generated/resource-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import {
  validateClaimTemplate,
  validateClaimTemplateUpdate,
  validateDeviceClass,
  validateResourceClaim,
  validateResourceClaimUpdate,
} from "./validation/device-claim.ts";
import { resourceSliceWarnings, validateResourceSlice } from "./validation/resource-slice.ts";

function state({ metadata, status }: ResourceClaim): string {
  const words = metadata.deletionTimestamp ? ["deleted"] : [];
  if (status?.allocation) words.push("allocated", ...(status.reservedFor?.length ? ["reserved"] : []));
  else if (!metadata.deletionTimestamp) words.push("pending");
  return words.join(",");
}

function defaultClaim(devices: DeviceClaim | undefined): void {
  for (const request of devices?.requests ?? []) {
    for (const part of [...(request.exactly ? [request.exactly] : []), ...(request.firstAvailable ?? [])]) {
      part.allocationMode ||= "ExactCount";
      if (part.allocationMode === "ExactCount") part.count ||= 1;
    }
  }
}

export const resourceV1: readonly KindEntry[] = [
  kind(deviceClasses, { columns: [ageColumn], strategy: { generation: true, validate: validateDeviceClass } }),
  kind(resourceClaims, {
    columns: [text("State", state), ageColumn],
    strategy: {
      ratchets: true,
      applyDefaults: ({ spec }) => defaultClaim(spec?.devices),
      validate: validateResourceClaim,
      validateUpdate: validateResourceClaimUpdate,
    },
  }),
  kind(resourceClaimTemplates, {
    columns: [ageColumn],
    strategy: {
      applyDefaults: ({ spec }) => defaultClaim(spec?.spec?.devices),
      validate: validateClaimTemplate,
      validateUpdate: validateClaimTemplateUpdate,
    },
  }),
  kind(resourceSlices, {
    columns: [
      text("Node", ({ spec }) => spec?.nodeName ?? ""),
      text("Driver", ({ spec }) => spec?.driver ?? ""),
      text("Pool", ({ spec }) => spec?.pool?.name ?? ""),
      ageColumn,
    ],
    selectableFields: {
      "spec.nodeName": ({ spec }) => spec?.nodeName ?? "",
      "spec.driver": ({ spec }) => spec?.driver ?? "",
    },
    strategy: {
      generation: true,
      ratchets: true,
      validate: validateResourceSlice,
      validateUpdate: validateResourceSlice,
      warnings: resourceSliceWarnings,
    },
  }),
];
