import { formatIp, parseIp } from "../../machinery/cidr.ts";
import { deepEqual } from "../../machinery/equality.ts";
import { cIdentifier, labelValue, qualifiedName } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type {
  AllocationResult,
  DeviceClaim,
  DeviceClass,
  DeviceConstraint,
  DeviceRequest,
  DeviceSelector,
  DeviceSubRequest,
  DeviceToleration,
  OpaqueDeviceConfiguration,
  ResourceClaim,
  ResourceClaimTemplate,
} from "../generated/resource-v1.ts";
import { checkConditions } from "./conditions.ts";
import { Errors } from "./errors.ts";
import { checkAnnotations, checkLabels } from "./labels.ts";
import { checkNodeSelector } from "./node-selector.ts";
import { isExtendedResource } from "./resource-names.ts";
import { checkDriverName } from "./volume-sources.ts";

const maxEntries = 32;
const maxAlternatives = 8;
const maxReserved = 256;
const maxExpression = 10 * 1024;
const maxParameters = 10 * 1024;
const maxPool = 253;
const maxIdentifier = 32;
const maxDeviceConditions = 8;
const maxAddresses = 16;
export const taintEffects = ["NoExecute", "NoSchedule", "None"];

type Check<T> = (item: T, path: string) => void;

/** Looks at each item, unless there are too many. */
export function checkItems<T>(
  errors: Errors,
  path: string,
  items: readonly T[],
  max: number,
  check: Check<T>,
): boolean {
  if (items.length > max) {
    errors.tooMany(path, items.length, max);
    return false;
  }
  for (const [index, item] of items.entries()) check(item, `${path}[${index}]`);
  return true;
}

/** The same of items that each have a key of their own. */
export function checkSet<T>(
  errors: Errors,
  path: string,
  items: readonly T[],
  max: number,
  check: Check<T>,
  keyOf: (item: T) => unknown,
): void {
  if (!checkItems(errors, path, items, max, check)) return;
  const seen = new Set<string>();
  for (const [index, item] of items.entries()) {
    const key = JSON.stringify(keyOf(item));
    if (seen.has(key)) errors.duplicate(`${path}[${index}]`, keyOf(item));
    seen.add(key);
  }
}

export function checkPoolName(errors: Errors, path: string, name: string | undefined): void {
  if (!name) {
    errors.required(path);
    return;
  }
  if (Buffer.byteLength(name) > maxPool) errors.tooLong(path, maxPool);
  for (const part of name.split("/")) errors.subdomain(path, part);
}

function checkIdentifier(errors: Errors, path: string, id: string): void {
  if (Buffer.byteLength(id) > maxIdentifier) errors.tooLong(path, maxIdentifier);
  errors.messages(path, id, cIdentifier(id));
}

/** The name of an attribute or capacity: an identifier, with a domain or without. */
export function checkAttributeName(errors: Errors, path: string, name: string): void {
  const [first = "", second, ...more] = name.split("/");
  if (more.length > 0) return;
  if (second === undefined) {
    checkIdentifier(errors, path, first);
    return;
  }
  if (first === "") errors.invalid(path, "", "the domain must not be empty");
  else checkDriverName(errors, path, first);
  if (second === "") errors.invalid(path, "", "the name must not be empty");
  else checkIdentifier(errors, path, second);
}

function checkFullName(errors: Errors, path: string, name: string): void {
  checkAttributeName(errors, path, name);
  if (name.includes("/")) return;
  errors.invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash");
}

function checkSelectors(errors: Errors, path: string, selectors: readonly DeviceSelector[] | undefined): void {
  checkItems(errors, path, selectors ?? [], maxEntries, ({ cel }, at) => {
    if (!cel) errors.required(`${at}.cel`);
    else if (Buffer.byteLength(cel.expression) > maxExpression) errors.tooLong(`${at}.cel.expression`, maxExpression);
  });
}

function checkToleration(errors: Errors, at: string, { key, operator, value = "", effect }: DeviceToleration): void {
  if (key) errors.qualified(`${at}.key`, key);
  if (operator === "Exists") {
    if (value !== "") errors.invalid(`${at}.value`, value, "must be empty for operator `Exists`");
  } else if (operator === "Equal") errors.messages(`${at}.value`, value, labelValue(value));
  else errors.oneOf(`${at}.operator`, operator, ["Equal", "Exists"]);
  errors.optionalOneOf(`${at}.effect`, effect, taintEffects);
}

type Wanted = Omit<DeviceSubRequest, "name">;

function checkWanted(errors: Errors, at: string, wanted: Wanted): void {
  const { deviceClassName: name, allocationMode: mode, count = 0 } = wanted;
  if (errors.present(`${at}.deviceClassName`, name)) errors.subdomain(`${at}.deviceClassName`, name);
  checkSelectors(errors, `${at}.selectors`, wanted.selectors);
  if (mode === "All") {
    if (count !== 0) {
      errors.invalid(`${at}.count`, count, "must not be specified when allocationMode is 'All'");
    }
  } else if (mode === "ExactCount") errors.positive(`${at}.count`, count);
  else errors.notSupported(`${at}.allocationMode`, mode ?? "", ["All", "ExactCount"]);
  for (const [index, toleration] of (wanted.tolerations ?? []).entries()) {
    checkToleration(errors, `${at}.tolerations[${index}]`, toleration);
  }
}

function checkDeviceRequest(errors: Errors, at: string, { name, exactly, firstAvailable = [] }: DeviceRequest): void {
  errors.label(`${at}.name`, name);
  const text = "exactly one of `exactly` or `firstAvailable` is required";
  if (exactly && firstAvailable.length > 0) errors.invalid(at, null, `${text}, but multiple fields are set`);
  else if (exactly) checkWanted(errors, `${at}.exactly`, exactly);
  else if (firstAvailable.length === 0) errors.required(at, text);
  else {
    const check: Check<DeviceSubRequest> = (one, path) => {
      errors.label(`${path}.name`, one.name);
      checkWanted(errors, path, one);
    };
    checkSet(errors, `${at}.firstAvailable`, firstAvailable, maxAlternatives, check, (one) => one.name);
  }
}

/** The names by which the parts of a claim may be referred to. */
function requestNames({ requests }: DeviceClaim): Set<string> {
  return new Set(
    (requests ?? []).flatMap(({ name, firstAvailable = [] }) => [
      name,
      ...firstAvailable.map((one) => `${name}/${one.name}`),
    ]),
  );
}

function checkReference(errors: Errors, path: string, name: string, known: ReadonlySet<string>): void {
  const text = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
  const segments = name.split("/");
  if (segments.length > 2) {
    errors.invalid(path, name, text);
    return;
  }
  for (const segment of segments) errors.label(path, segment);
  if (!known.has(name)) errors.invalid(path, name, text);
}

function checkReferences(
  errors: Errors,
  path: string,
  names: readonly string[] | undefined,
  known: ReadonlySet<string>,
): void {
  const check: Check<string> = (name, at) => checkReference(errors, at, name, known);
  checkSet(errors, path, names ?? [], maxEntries, check, (name) => name);
}

function checkParameters(errors: Errors, path: string, parameters: unknown): void {
  if (parameters === undefined || parameters === null) errors.required(path);
  else if (Buffer.byteLength(JSON.stringify(parameters)) > maxParameters) errors.tooLong(path, maxParameters);
  else if (typeof parameters !== "object" || Array.isArray(parameters)) {
    errors.invalid(path, "<value omitted>", "must be a valid JSON object");
  }
}

function checkOpaque(errors: Errors, path: string, opaque: OpaqueDeviceConfiguration | undefined): void {
  if (!opaque) {
    errors.required(path);
    return;
  }
  checkDriverName(errors, `${path}.driver`, opaque.driver);
  checkParameters(errors, `${path}.parameters`, opaque.parameters);
}

function checkConstraint(errors: Errors, at: string, constraint: DeviceConstraint, names: ReadonlySet<string>): void {
  checkReferences(errors, `${at}.requests`, constraint.requests, names);
  const { matchAttribute, distinctAttribute } = constraint;
  if (matchAttribute !== undefined) checkFullName(errors, `${at}.matchAttribute`, matchAttribute);
  else if (distinctAttribute !== undefined) checkFullName(errors, `${at}.distinctAttribute`, distinctAttribute);
  else {
    const text = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set';
    errors.required(at, text);
  }
}

function checkDevices(errors: Errors, path: string, devices: DeviceClaim = {}): void {
  const names = requestNames(devices);
  const checkRequest: Check<DeviceRequest> = (request, at) => checkDeviceRequest(errors, at, request);
  checkSet(errors, `${path}.requests`, devices.requests ?? [], maxEntries, checkRequest, ({ name }) => name);
  checkItems(errors, `${path}.constraints`, devices.constraints ?? [], maxEntries, (constraint, at) => {
    checkConstraint(errors, at, constraint, names);
  });
  checkItems(errors, `${path}.config`, devices.config ?? [], maxEntries, ({ requests, opaque }, at) => {
    checkReferences(errors, `${at}.requests`, requests, names);
    checkOpaque(errors, `${at}.opaque`, opaque);
  });
}

export function validateResourceClaim({ spec }: ResourceClaim): FieldError[] {
  const errors = new Errors();
  checkDevices(errors, "spec.devices", spec?.devices);
  return errors.list;
}

export function validateResourceClaimUpdate(claim: ResourceClaim, old: ResourceClaim, subresource?: string) {
  const errors = new Errors();
  if (subresource === "status") checkStatus(errors, claim, old);
  else errors.immutable("spec", claim.spec, deepEqual(claim.spec, old.spec));
  return errors.list;
}

export function validateClaimTemplate({ spec }: ResourceClaimTemplate): FieldError[] {
  const errors = new Errors();
  checkAnnotations(errors, "spec.metadata.annotations", spec?.metadata?.annotations);
  checkLabels(errors, "spec.metadata.labels", spec?.metadata?.labels);
  checkDevices(errors, "spec.spec.devices", spec?.spec?.devices);
  return errors.list;
}

export function validateClaimTemplateUpdate(template: ResourceClaimTemplate, old: ResourceClaimTemplate) {
  const errors = new Errors();
  errors.immutable("spec", template.spec, deepEqual(template.spec, old.spec));
  return errors.list;
}

export function validateDeviceClass({ spec }: DeviceClass): FieldError[] {
  const errors = new Errors();
  checkSelectors(errors, "spec.selectors", spec?.selectors);
  checkItems(errors, "spec.config", spec?.config ?? [], maxEntries, ({ opaque }, at) => {
    checkOpaque(errors, `${at}.opaque`, opaque);
  });
  const name = spec?.extendedResourceName;
  if (name !== undefined && !isExtendedResource(name)) {
    errors.invalid("spec.extendedResourceName", name, "must be a valid extended resource name");
  }
  return errors.list;
}

function checkAllocation(errors: Errors, path: string, allocation: AllocationResult, names: ReadonlySet<string>): void {
  const { results = [], config = [] } = allocation.devices ?? {};
  checkItems(errors, `${path}.devices.results`, results, maxEntries, (result, at) => {
    checkReference(errors, `${at}.request`, result.request, names);
    checkDriverName(errors, `${at}.driver`, result.driver);
    checkPoolName(errors, `${at}.pool`, result.pool);
    errors.label(`${at}.device`, result.device);
  });
  checkItems(errors, `${path}.devices.config`, config, 2 * maxEntries, ({ source, requests, opaque }, at) => {
    errors.oneOf(`${at}.source`, source, ["FromClaim", "FromClass"]);
    checkReferences(errors, `${at}.requests`, requests, names);
    checkOpaque(errors, `${at}.opaque`, opaque);
  });
  if (allocation.nodeSelector) checkNodeSelector(errors, `${path}.nodeSelector`, allocation.nodeSelector);
}

function checkStatus(errors: Errors, { metadata, spec, status = {} }: ResourceClaim, old: ResourceClaim): void {
  const { allocation, reservedFor = [], devices = [] } = status;
  const path = "status.reservedFor";
  const checkConsumer: Check<(typeof reservedFor)[number]> = (consumer, at) => {
    for (const field of ["resource", "name", "uid"] as const) errors.present(`${at}.${field}`, consumer[field]);
  };
  checkSet(errors, path, reservedFor, maxReserved, checkConsumer, ({ uid }) => uid);
  checkDeviceStatuses(errors, devices, allocation);
  if (reservedFor.length > 0 && !allocation) {
    errors.forbidden(path, "may not be specified when `allocated` is not set");
  } else if (metadata.deletionTimestamp) {
    const before = old.status?.reservedFor ?? [];
    if (reservedFor.some((one) => !before.some((other) => deepEqual(one, other)))) {
      const text = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
      errors.forbidden(path, text);
    }
  }
  if (!allocation) return;
  const was = old.status?.allocation;
  if (was) errors.immutable("status.allocation", allocation, deepEqual(allocation, was));
  else checkAllocation(errors, "status.allocation", allocation, requestNames(spec?.devices ?? {}));
}

/** An address with the length of its network's prefix. */
function checkInterfaceAddress(errors: Errors, path: string, value: string): void {
  const [address = "", length, ...more] = value.split("/");
  const ip = parseIp(address);
  if (!ip || more.length > 0 || !/^(0|[1-9]\d*)$/.test(length ?? "") || Number(length) > (ip.family === 6 ? 128 : 32)) {
    errors.invalid(path, value, "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)");
    return;
  }
  const canonical = `${formatIp(ip)}/${length}`;
  if (canonical !== value) errors.invalid(path, value, `must be in canonical form ("${canonical}")`);
}

type DeviceStatuses = NonNullable<NonNullable<ResourceClaim["status"]>["devices"]>;

/** A device by all that tells it from others, as texts show it. */
function deviceKey(part: { driver: string; pool: string; device: string; shareID?: string }): string {
  const share = part.shareID === undefined ? "" : `/${part.shareID}`;
  return `${part.driver}/${part.pool}/${part.device}${share}`;
}

function checkDeviceStatuses(errors: Errors, devices: DeviceStatuses, allocation: AllocationResult | undefined): void {
  const allocated = new Set((allocation?.devices?.results ?? []).map(deviceKey));
  const check: Check<DeviceStatuses[number]> = (device, at) => {
    checkDriverName(errors, `${at}.driver`, device.driver);
    checkPoolName(errors, `${at}.pool`, device.pool);
    errors.label(`${at}.device`, device.device);
    const key = deviceKey(device);
    if (!allocated.has(key)) errors.invalid(at, key, "must be an allocated device in the claim");
    const conditions = device.conditions ?? [];
    if (conditions.length > maxDeviceConditions) {
      errors.tooMany(`${at}.conditions`, conditions.length, maxDeviceConditions);
    }
    checkConditions(errors, `${at}.conditions`, conditions);
    if (device.data !== undefined) checkParameters(errors, `${at}.data`, device.data);
    const ips = device.networkData?.ips ?? [];
    checkSet(
      errors,
      `${at}.networkData.ips`,
      ips,
      maxAddresses,
      (ip, path) => checkInterfaceAddress(errors, path, ip),
      (ip) => ip,
    );
  };
  checkSet(errors, "status.devices", devices, Number.POSITIVE_INFINITY, check, deviceKey);
}

export function checkTaint(errors: Errors, at: string, taint: { key: string; value?: string; effect: string }): void {
  errors.messages(`${at}.key`, taint.key, qualifiedName(taint.key));
  if (taint.value) errors.messages(`${at}.value`, taint.value, labelValue(taint.value));
  errors.oneOf(`${at}.effect`, taint.effect, taintEffects);
}
