/**
 * Expressions about requests, as admission policies and match conditions have them: their variables, and how one is
 * compiled. Source: apiserver's admission/plugin/cel.
 */
import { CelCompileError } from "./issues.ts";
import { authorizerType, resourceCheckType } from "./library/authorization.ts";
import { parseTimestamp } from "./library/times.ts";
import { CelProgram } from "./program.ts";
import * as types from "./types.ts";
import { type CelType, sameType } from "./types.ts";
import { CelError } from "./values.ts";

/** What one evaluation of an expression may cost. */
export const perCallLimit = 1_000_000;

/** What is known of a request besides `object`, `oldObject`, `namespaceObject` and `request`. */
export interface AdmissionScope {
  readonly params: boolean;
  readonly authorizer: boolean;
  /** The type of `variables`; absent: there are none. */
  readonly variables?: CelType;
  /** Types known of the objects; absent: dynamic. */
  readonly object?: CelType;
  readonly paramsType?: CelType;
}

/** In the order in which a program takes its values. */
export const admissionVariables = [
  "object",
  "oldObject",
  "namespaceObject",
  "request",
  "params",
  "authorizer",
  "authorizer.requestResource",
  "variables",
] as const;

const plain = (name: string, fields: Readonly<Record<string, CelType>>): CelType =>
  types.objectOf(
    name,
    new Map(
      Object.entries(fields).map(([key, type]) => [
        key,
        {
          type,
          key,
          ...(type === types.timestamp ? { convert: (json: unknown) => parseTimestamp(String(json)) } : {}),
        },
      ]),
    ),
  );

const { string, bool, int, timestamp, dyn } = types;
const strings = types.listOf(string);
const texts = types.mapOf(string, string);

const groupVersionKind = plain("kubernetes.GroupVersionKind", { group: string, version: string, kind: string });
const groupVersionResource = plain("kubernetes.GroupVersionResource", {
  group: string,
  version: string,
  resource: string,
});

/** admission/v1 AdmissionRequest, without uid and the objects. */
export const requestType = plain("kubernetes.AdmissionRequest", {
  kind: groupVersionKind,
  resource: groupVersionResource,
  subResource: string,
  requestKind: groupVersionKind,
  requestResource: groupVersionResource,
  requestSubResource: string,
  name: string,
  namespace: string,
  operation: string,
  userInfo: plain("kubernetes.UserInfo", {
    username: string,
    uid: string,
    groups: strings,
    extra: types.mapOf(string, strings),
  }),
  dryRun: bool,
  options: dyn,
});

/** core/v1 Namespace, as far as expressions see it. */
export const namespaceType = plain("kubernetes.Namespace", {
  metadata: plain("kubernetes.NamespaceMetadata", {
    name: string,
    generateName: string,
    namespace: string,
    labels: texts,
    annotations: texts,
    UID: string,
    creationTimestamp: timestamp,
    deletionGracePeriodSeconds: int,
    deletionTimestamp: timestamp,
    generation: int,
    resourceVersion: string,
    finalizers: strings,
  }),
  spec: plain("kubernetes.NamespaceSpec", { finalizers: strings }),
  status: plain("kubernetes.NamespaceStatus", {
    conditions: types.listOf(
      plain("kubernetes.NamespaceCondition", {
        status: string,
        type: string,
        lastTransitionTime: timestamp,
        message: string,
        reason: string,
      }),
    ),
    phase: string,
  }),
});

/** Names and types, in the order of {@link admissionVariables}; a name without a type is not declared. */
function declared(scope: AdmissionScope): (CelType | undefined)[] {
  return [
    scope.object ?? dyn,
    scope.object ?? dyn,
    namespaceType,
    requestType,
    scope.params ? (scope.paramsType ?? dyn) : undefined,
    scope.authorizer ? authorizerType : undefined,
    scope.authorizer ? resourceCheckType : undefined,
    scope.variables,
  ];
}

/** A compiled expression, or why it is none, in Kubernetes' words. */
export type Compiled =
  | { readonly program: CelProgram; readonly fault?: undefined }
  | { readonly program?: undefined; readonly fault: string };

/** As Go prints a type outside of the checker's errors. */
const printed = ({ name, params }: CelType): string =>
  params.length === 0 ? name : `${name}(${params.map(printed).join(", ")})`;

/** Compiles an expression that must give one of the wanted types; none: any. */
export function compileAdmission(source: string, scope: AdmissionScope, wanted?: readonly CelType[]): Compiled {
  try {
    const known = declared(scope);
    const variables = admissionVariables.map((name, i) => ({ name, type: known[i] }));
    const program = new CelProgram(source, { variables });
    if (!wanted || wanted.some((type) => sameType(type, program.type))) return { program };
    const one = wanted.length === 1;
    const expected = one ? printed(wanted[0]!) : `one of [${wanted.map(printed).join(" ")}]`;
    return { fault: `must evaluate to ${expected} but got ${printed(program.type)}` };
  } catch (error) {
    if (error instanceof CelCompileError) return { fault: `compilation failed: ${error.message}` };
    if (error instanceof CelError) return { fault: `program instantiation failed: ${error.message}` };
    throw error;
  }
}
