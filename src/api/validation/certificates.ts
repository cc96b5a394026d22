import { X509Certificate } from "node:crypto";
import { deepEqual } from "../../machinery/equality.ts";
import { dns1123Label, dns1123Subdomain } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { CertificateSigningRequest, CertificateSigningRequestCondition } from "../generated/certificates-v1.ts";
import { pemBlocks, requestProblem } from "./certificate-request.ts";
import { Errors } from "./errors.ts";

const usages = [
  "any",
  "cert sign",
  "client auth",
  "code signing",
  "content commitment",
  "crl sign",
  "data encipherment",
  "decipher only",
  "digital signature",
  "email protection",
  "encipher only",
  "ipsec end system",
  "ipsec tunnel",
  "ipsec user",
  "key agreement",
  "key encipherment",
  "microsoft sgc",
  "netscape sgc",
  "ocsp signing",
  "s/mime",
  "server auth",
  "signing",
  "timestamping",
];
const decisions = ["Approved", "Denied"];
const finalTypes = [...decisions, "Failed"];
const shortestSeconds = 600;
const maxDomain = 253;
const maxSigner = maxDomain * 2 + 63 + 2;
const legacySigner = "kubernetes.io/legacy-unknown";

/** A signer is named like "example.com/signer". */
function checkSigner(errors: Errors, path: string, name: string): void {
  if (!errors.present(path, name)) return;
  const [domain = "", rest, ...more] = name.split("/");
  if (rest === undefined || more.length > 0) {
    const text = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    errors.invalid(path, name, text);
    return;
  }
  if (domain.length > maxDomain) errors.tooLong(path, maxDomain);
  const labels = domain.split(".");
  checkSegments(errors, path, domain, labels, dns1123Label);
  if (labels.length < 2) {
    errors.invalid(path, domain, "should be a domain with at least two segments separated by dots");
  }
  checkSegments(errors, path, rest, rest.split("."), dns1123Subdomain);
  if (name.length > maxSigner) errors.tooLong(path, maxSigner);
}

/** Says what is wrong with the first bad segment only. */
function checkSegments(
  errors: Errors,
  path: string,
  whole: string,
  segments: readonly string[],
  check: (segment: string) => string[],
): void {
  const bad = segments.find((segment) => check(segment).length > 0);
  if (bad === undefined) return;
  for (const message of check(bad)) {
    errors.invalid(path, whole, `validating label ${JSON.stringify(bad)}: ${message}`);
  }
}

function certificateProblem(encoded: string): string | undefined {
  const blocks = pemBlocks(Buffer.from(encoded, "base64").toString());
  for (const { type, headers, bytes } of blocks) {
    if (type !== "CERTIFICATE") return `only CERTIFICATE PEM blocks are allowed, found ${JSON.stringify(type)}`;
    if (headers) return "no PEM block headers are permitted";
    try {
      new X509Certificate(bytes);
    } catch {
      return "x509: malformed certificate";
    }
  }
  return blocks.length === 0 ? "must contain at least one CERTIFICATE PEM block" : undefined;
}

type Conditions = readonly CertificateSigningRequestCondition[];
const conditionsOf = ({ status }: CertificateSigningRequest): Conditions => status?.conditions ?? [];
const ofType = (conditions: Conditions, type: string) => conditions.filter((condition) => condition.type === type);
const duplicated = (names: readonly string[]) => new Set(names).size < names.length;
const decided = (conditions: Conditions) => decisions.every((type) => ofType(conditions, type).length > 0);

/** What an old object does wrong already, it may go on doing. */
function checkConditions(errors: Errors, conditions: Conditions, old: Conditions): void {
  const path = "status.conditions";
  const mayRepeat = duplicated(old.map(({ type }) => type));
  const mayBeEmpty = old.some(({ type }) => type === "");
  const types = new Set<string>();
  for (const [index, { type = "", status = "" }] of conditions.entries()) {
    const at = `${path}[${index}]`;
    if (!mayBeEmpty) errors.present(`${at}.type`, type);
    const allowed = finalTypes.includes(type) ? ["True"] : ["False", "True", "Unknown"];
    if (errors.present(`${at}.status`, status)) errors.setOneOf(`${at}.status`, status, allowed);
    const other = decisions.find((decision) => decision !== type)!;
    if (decisions.includes(type) && types.has(other) && !decided(old)) {
      errors.invalid(path, type, "Approved and Denied conditions are mutually exclusive");
    }
    if (types.has(type) && !mayRepeat) errors.duplicate(`${at}.type`, type);
    types.add(type);
  }
}

function checkRequest(errors: Errors, request: CertificateSigningRequest, old?: CertificateSigningRequest): void {
  const { spec } = request;
  const { usages: given = [], expirationSeconds: seconds, signerName = "" } = spec;
  const problem = requestProblem(Buffer.from(spec.request ?? "", "base64").toString());
  if (problem) errors.invalid("spec.request", spec.request ?? null, problem);
  errors.present("spec.usages", given);
  const before = old?.spec.usages ?? [];
  if (before.every((usage) => usages.includes(usage))) {
    for (const [index, usage] of given.entries()) {
      if (!usages.includes(usage)) errors.notSupported(`spec.usages[${index}]`, usage, usages);
    }
  }
  if (!duplicated(before)) {
    for (const [index, usage] of given.entries()) {
      if (given.indexOf(usage) < index) errors.duplicate(`spec.usages[${index}]`, usage);
    }
  }
  if (signerName === legacySigner && old?.spec.signerName !== legacySigner) {
    errors.invalid("spec.signerName", signerName, "the legacy signerName is not allowed via this API version");
  } else checkSigner(errors, "spec.signerName", signerName);
  if (seconds !== undefined && seconds < shortestSeconds) {
    const text = "may not specify a duration less than 600 seconds (10 minutes)";
    errors.invalid("spec.expirationSeconds", seconds, text);
  }
  checkConditions(errors, conditionsOf(request), old ? conditionsOf(old) : []);
  const certificate = request.status?.certificate;
  const was = old?.status?.certificate;
  if (!certificate || certificate === was || (was && certificateProblem(was))) return;
  const wrong = certificateProblem(certificate);
  if (wrong) errors.invalid("status.certificate", "<certificate data>", wrong);
}

export function validateCertificateRequest(request: CertificateSigningRequest): FieldError[] {
  const errors = new Errors();
  checkRequest(errors, request);
  return errors.list;
}

/** Decisions come by the approval subresource, certificates by the status; neither ever goes. */
export function validateCertificateRequestUpdate(
  request: CertificateSigningRequest,
  old: CertificateSigningRequest,
  subresource?: string,
): FieldError[] {
  const errors = new Errors();
  checkRequest(errors, request, old);
  const path = "status.conditions";
  const now = conditionsOf(request);
  const before = conditionsOf(old);
  for (const type of finalTypes) {
    if (ofType(now, type).length < ofType(before, type).length) {
      errors.forbidden(path, `updates may not remove a condition of type "${type}"`);
    }
  }
  if (subresource !== "approval") {
    for (const type of decisions) {
      const wanted = ofType(now, type);
      const known = ofType(before, type);
      if (wanted.length > known.length) errors.forbidden(path, `updates may not add a condition of type "${type}"`);
      else if (wanted.length === known.length && !deepEqual(wanted, known)) {
        errors.forbidden(path, `updates may not modify a condition of type "${type}"`);
      }
    }
  }
  const was = old.status?.certificate ?? "";
  if ((request.status?.certificate ?? "") === was) return errors.list;
  if (subresource !== "status") errors.forbidden("status.certificate", "updates may not set certificate content");
  else if (was) errors.forbidden("status.certificate", "updates may not modify existing certificate content");
  return errors.list;
}

/** Who writes the status leaves decisions as they were; adding or removing some is for validation to refuse. */
export function keepDecisions(request: CertificateSigningRequest, old: CertificateSigningRequest): void {
  const conditions = request.status?.conditions;
  if (!conditions) return;
  for (const type of decisions) {
    const known = ofType(conditionsOf(old), type);
    if (ofType(conditions, type).length !== known.length) continue;
    let next = 0;
    for (const [index, condition] of conditions.entries()) {
      if (condition.type === type) conditions[index] = structuredClone(known[next++]!);
    }
  }
}
