/** What differs between pods for Linux and pods for Windows. */
import { dns1123Subdomain } from "../../machinery/names.ts";
import type { PodSpec, SecurityContext, WindowsSecurityContextOptions } from "../generated/core-v1.ts";
import { eachContainer } from "./container.ts";
import type { Errors } from "./errors.ts";

const maxSpecKiB = 64;
const maxDomain = 256;
const maxUser = 104;
const netBios = /^[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}$/;
const dnsLabel = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";

export function checkWindowsOptions(
  errors: Errors,
  path: string,
  options: WindowsSecurityContextOptions | undefined,
): void {
  if (!options) return;
  const { gmsaCredentialSpecName: specName, gmsaCredentialSpec: spec, runAsUserName: user } = options;
  if (specName !== undefined) errors.messages(`${path}.gmsaCredentialSpecName`, specName, dns1123Subdomain(specName));
  if (spec === "") errors.invalid(`${path}.gmsaCredentialSpec`, spec, "gmsaCredentialSpec cannot be an empty string");
  else if (Buffer.byteLength(spec ?? "") > maxSpecKiB * 1024) {
    errors.invalid(`${path}.gmsaCredentialSpec`, spec, `gmsaCredentialSpec size must be under ${maxSpecKiB} KiB`);
  }
  if (user !== undefined) checkUserName(errors, `${path}.runAsUserName`, user);
}

/** "user", or "DOMAIN\\user". */
function checkUserName(errors: Errors, path: string, name: string): void {
  const invalid = (text: string) => errors.invalid(path, name, `runAsUserName${text}`);
  const parts = name.split("\\");
  if (name === "") invalid(" cannot be an empty string");
  else if (/\p{Cc}/u.test(name)) invalid(" cannot contain control characters");
  else if (parts.length > 2) invalid(" cannot contain more than one backslash");
  else {
    const user = parts.at(-1)!;
    const domain = parts.length === 2 ? parts[0]! : undefined;
    if ((domain ?? "").length >= maxDomain) invalid(`'s Domain length must be under ${maxDomain} characters`);
    const dns = new RegExp(`^${dnsLabel}(?:\\.${dnsLabel})*$`);
    if (domain !== undefined && !netBios.test(domain) && !dns.test(domain)) {
      invalid("'s Domain doesn't match the NetBios nor the DNS format");
    }
    if (user === "") invalid("'s User cannot be empty");
    else if (user.length > maxUser) invalid(`'s User length must not be longer than ${maxUser} characters`);
    if (/^[. ]+$/.test(user)) invalid("'s User cannot contain only periods or spaces");
    if (/["/\\:;|=,+*?<>@[\]]/.test(user)) {
      invalid("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
  }
}

/** Containers that run as processes of the host: all or none, with the host's network. */
export function checkHostProcess(errors: Errors, path: string, spec: PodSpec): void {
  const ofPod = spec.securityContext?.windowsOptions?.hostProcess;
  let all = 0;
  let host = 0;
  for (const [container, at] of eachContainer(spec, path)) {
    const own = container.securityContext?.windowsOptions?.hostProcess;
    all++;
    if (ofPod !== undefined && own !== undefined && own !== ofPod) {
      const text = `pod hostProcess value must be identical if both are specified, was ${ofPod}`;
      errors.invalid(`${at}.securityContext.windowsOptions.hostProcess`, own, text);
    }
    if (own ?? ofPod) host++;
  }
  if (host === 0) return;
  if (host !== all) {
    const text = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
    errors.invalid(path, "", text);
  }
  if (!spec.hostNetwork) {
    errors.invalid(`${path}.hostNetwork`, false, "hostNetwork must be true if pod contains any hostProcess containers");
  }
}

const podFields = [
  "appArmorProfile",
  "seLinuxOptions",
  "seccompProfile",
  "fsGroup",
  "fsGroupChangePolicy",
  "sysctls",
  "runAsUser",
  "runAsGroup",
  "supplementalGroups",
  "supplementalGroupsPolicy",
  "seLinuxChangePolicy",
] as const;
const containerFields = [
  "appArmorProfile",
  "seLinuxOptions",
  "seccompProfile",
  "capabilities",
  "readOnlyRootFilesystem",
  "privileged",
  "allowPrivilegeEscalation",
  "procMount",
  "runAsUser",
  "runAsGroup",
] as const satisfies readonly (keyof SecurityContext)[];

/** A pod that says for which system it is carries no settings of the other. */
export function checkOs(errors: Errors, path: string, spec: PodSpec): void {
  const { os, securityContext: security = {} } = spec;
  if (!os) return;
  if (!os.name) errors.required(`${path}.os.name`);
  else if (os.name !== "linux" && os.name !== "windows")
    errors.notSupported(`${path}.os`, os.name, ["linux", "windows"]);
  else if (os.name === "linux") {
    const text = "windows options cannot be set for a linux pod";
    if (security.windowsOptions) errors.forbidden(`${path}.securityContext.windowsOptions`, text);
    for (const [container, at] of eachContainer(spec, path)) {
      if (container.securityContext?.windowsOptions) errors.forbidden(`${at}.securityContext.windowsOptions`, text);
    }
  } else {
    const text = "cannot be set for a windows pod";
    const set = (value: unknown) => value !== undefined && !(Array.isArray(value) && value.length === 0);
    for (const field of podFields) {
      if (set(security[field])) errors.forbidden(`${path}.securityContext.${field}`, text);
    }
    for (const field of ["hostUsers", "shareProcessNamespace"] as const) {
      if (spec[field] !== undefined) errors.forbidden(`${path}.${field}`, text);
    }
    for (const field of ["hostPID", "hostIPC"] as const) if (spec[field]) errors.forbidden(`${path}.${field}`, text);
    for (const [container, at] of eachContainer(spec, path)) {
      for (const field of containerFields) {
        const value = container.securityContext?.[field];
        if (value !== undefined) errors.forbidden(`${at}.securityContext.${field}`, text);
      }
    }
  }
}
