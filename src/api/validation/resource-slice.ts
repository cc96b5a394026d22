import { deepEqual } from "../../machinery/equality.ts";
import { dns1123Subdomain } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { Device, DeviceAttribute, ResourceSlice, ResourceSliceSpec } from "../generated/resource-v1.ts";
import { checkAttributeName, checkItems, checkPoolName, checkSet, checkTaint } from "./device-claim.ts";
import { Errors } from "./errors.ts";
import { checkNodeSelector } from "./node-selector.ts";
import { checkDriverName } from "./volume-sources.ts";

const maxDevices = 128;
/** Where devices have taints, counters or lists of values. */
const maxElaborateDevices = 64;
const maxTaints = 16;
const maxNames = 32;
const maxValue = 64;
const maxCounterSets = 8;
const maxCounters = 32;
const maxConsumptions = 2;

const identifier = "(0|[1-9]\\d*)";
const release = "(0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*)";
const semver = new RegExp(
  `^${identifier}\\.${identifier}\\.${identifier}(-${release}(\\.${release})*)?(\\+[0-9a-zA-Z-]+(\\.[0-9a-zA-Z-]+)*)?$`,
);

interface Placed {
  nodeName?: string;
  nodeSelector?: ResourceSliceSpec["nodeSelector"];
  allNodes?: boolean;
}

/** Where something is reachable; says which of the fields are set. */
function checkPlace(errors: Errors, at: string, { nodeName, nodeSelector, allNodes }: Placed, empty: string): string[] {
  const set: string[] = [];
  if (nodeName === "") errors.invalid(`${at}.nodeName`, nodeName, empty);
  else if (nodeName !== undefined) {
    set.push("`nodeName`");
    errors.messages(`${at}.nodeName`, nodeName, dns1123Subdomain(nodeName));
  }
  if (nodeSelector) {
    set.push("`nodeSelector`");
    checkNodeSelector(errors, `${at}.nodeSelector`, nodeSelector);
  }
  if (allNodes === true) set.push("`allNodes`");
  else if (allNodes === false) errors.invalid(`${at}.allNodes`, allNodes, "must be either unset or set to true");
  return set;
}

function checkAttribute(errors: Errors, at: string, attribute: DeviceAttribute): void {
  const set = Object.values(attribute).filter((value) => value !== undefined && value !== null).length;
  if (set !== 1) errors.invalid(at, set === 0 ? "" : attribute, "exactly one value must be specified");
  const { string, version } = attribute;
  if (string !== undefined && Buffer.byteLength(string) > maxValue) errors.tooLong(`${at}.string`, maxValue);
  if (version === undefined) return;
  if (!semver.test(version)) {
    errors.invalid(`${at}.version`, version, "must be a string compatible with semver.org spec 2.0.0");
  }
  if (Buffer.byteLength(version) > maxValue) errors.tooLong(`${at}.version`, maxValue);
}

function checkBindings(errors: Errors, at: string, device: Device): void {
  const { bindingConditions: good = [], bindingFailureConditions: bad = [] } = device;
  const max = 4;
  checkItems(errors, `${at}.bindingConditions`, good, max, (name, path) => errors.qualified(path, name));
  checkItems(errors, `${at}.bindingFailureConditions`, bad, max, (name, path) => errors.qualified(path, name));
  for (const [index, name] of good.entries()) {
    if (good.indexOf(name) < index) errors.duplicate(`${at}.bindingConditions[${index}]`, name);
  }
  for (const [index, name] of bad.entries()) {
    const path = `${at}.bindingFailureConditions[${index}]`;
    if (bad.indexOf(name) < index) errors.duplicate(path, name);
    if (!good.includes(name)) continue;
    errors.invalid(path, name, "bindingFailureConditions must not overlap with bindingConditions");
  }
  if (good.length === 0 && bad.length > 0) {
    const text = "bindingConditions are required to use bindingFailureConditions";
    errors.invalid(`${at}.bindingConditions`, null, text);
  } else if (bad.length === 0 && good.length > 0) {
    const text = "bindingFailureConditions are required to use bindingConditions";
    errors.invalid(`${at}.bindingFailureConditions`, null, text);
  }
}

interface Counting {
  counters?: Readonly<Record<string, unknown>>;
}

function checkCounters(errors: Errors, path: string, { counters = {} }: Counting): void {
  const names = Object.keys(counters);
  if (names.length === 0) errors.required(path);
  else if (names.length > maxCounters) errors.tooMany(path, names.length, maxCounters);
  else for (const name of names) errors.label(path, name);
}

function checkDevice(errors: Errors, at: string, device: Device, old: Device | undefined, perDevice: boolean): void {
  errors.label(`${at}.name`, device.name);
  const attributes = Object.entries(device.attributes ?? {});
  const capacities = Object.entries(device.capacity ?? {});
  const count = attributes.length + capacities.length;
  if (count > maxNames) {
    errors.invalid(at, count, `the total number of attributes and capacities must not exceed ${maxNames}`);
  }
  for (const [name, attribute] of attributes) {
    checkAttributeName(errors, `${at}.attributes`, name);
    checkAttribute(errors, `${at}.attributes[${name}]`, attribute);
  }
  for (const [name, capacity] of capacities) {
    checkAttributeName(errors, `${at}.capacity`, name);
    if (!capacity.requestPolicy || device.allowMultipleAllocations) continue;
    errors.forbidden(`${at}.capacity[${name}].requestPolicy`, "allowMultipleAllocations must be true");
  }
  if (!old || !deepEqual(old.taints, device.taints)) {
    checkItems(errors, `${at}.taints`, device.taints ?? [], maxTaints, (taint, path) => {
      checkTaint(errors, path, taint);
    });
  }
  checkSet(
    errors,
    `${at}.consumesCounters`,
    device.consumesCounters ?? [],
    maxConsumptions,
    (consumption, path) => {
      const name = consumption.counterSet;
      if (errors.present(`${path}.counterSet`, name)) errors.label(`${path}.counterSet`, name);
      checkCounters(errors, `${path}.counters`, consumption);
    },
    ({ counterSet }) => counterSet,
  );
  checkDevicePlace(errors, at, device, perDevice);
  checkBindings(errors, at, device);
}

function checkDevicePlace(errors: Errors, at: string, device: Device, perDevice: boolean): void {
  if (perDevice) {
    const set = checkPlace(errors, at, device, "must not be empty");
    const text =
      "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    if (set.length === 0) errors.required(at, text);
    else if (set.length > 1) errors.invalid(at, `{${set.join(", ")}}`, text);
  } else if (device.nodeName !== undefined || device.nodeSelector || device.allNodes !== undefined) {
    const text =
      "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    errors.invalid(at, null, text);
  }
}

const isElaborate = ({ taints, consumesCounters, attributes }: Device) =>
  Boolean(taints?.length || consumesCounters?.length) ||
  Object.values(attributes ?? {}).some((value) => Object.values(value).some(Array.isArray));

/** `old` is absent for a new slice. */
export function validateResourceSlice({ spec }: ResourceSlice, old?: ResourceSlice): FieldError[] {
  const errors = new Errors();
  checkDriverName(errors, "spec.driver", spec?.driver);
  const { name, resourceSliceCount = 0, generation = 0 } = spec?.pool ?? {};
  checkPoolName(errors, "spec.pool.name", name);
  errors.positive("spec.pool.resourceSliceCount", resourceSliceCount);
  if (generation < 0) errors.invalid("spec.pool.generation", generation, "must be greater than or equal to zero");
  if (old) {
    errors.immutable("spec.pool.name", name, name === old.spec?.pool?.name);
    errors.immutable("spec.driver", spec?.driver, spec?.driver === old.spec?.driver);
    errors.immutable("spec.nodeName", spec?.nodeName ?? null, spec?.nodeName === old.spec?.nodeName);
  }
  if (!spec) return errors.list;
  const set = checkPlace(errors, "spec", spec, "must be either unset or set to a non-empty string");
  const terms = spec.nodeSelector?.nodeSelectorTerms;
  if (terms && terms.length !== 1) {
    const path = "spec.nodeSelector.nodeSelectorTerms";
    errors.invalid(path, terms, "must have exactly one node selector term");
  }
  const perDevice = spec.perDeviceNodeSelection;
  if (perDevice === true) set.push("`perDeviceNodeSelection`");
  else if (perDevice === false) {
    errors.invalid("spec.perDeviceNodeSelection", perDevice, "must be either unset or set to true");
  }
  const text = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
  if (set.length === 0) errors.required("spec", text);
  else if (set.length > 1) errors.invalid("spec", `{${set.join(", ")}}`, `${text}, but multiple fields are set`);
  if (spec.sharedCounters && spec.devices) {
    errors.invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed");
  }
  checkContents(errors, spec, old);
  return errors.list;
}

function checkContents(errors: Errors, spec: ResourceSliceSpec, old?: ResourceSlice): void {
  const devices = spec.devices ?? [];
  const before = new Map((old?.spec?.devices ?? []).map((device) => [device.name, device]));
  checkSet(
    errors,
    "spec.devices",
    devices,
    devices.some(isElaborate) ? maxElaborateDevices : maxDevices,
    (device, at) => checkDevice(errors, at, device, before.get(device.name), spec.perDeviceNodeSelection === true),
    (device) => device.name,
  );
  checkSet(
    errors,
    "spec.sharedCounters",
    spec.sharedCounters ?? [],
    maxCounterSets,
    (counterSet, at) => {
      if (errors.present(`${at}.name`, counterSet.name)) errors.label(`${at}.name`, counterSet.name);
      checkCounters(errors, `${at}.counters`, counterSet);
    },
    (counterSet) => counterSet.name,
  );
}

export function resourceSliceWarnings({ spec }: ResourceSlice): string[] {
  const driver = spec?.driver ?? "";
  if (driver === driver.toLowerCase()) return [];
  return [`spec.driver: driver names should be lowercase; ${JSON.stringify(driver)} contains uppercase characters`];
}
