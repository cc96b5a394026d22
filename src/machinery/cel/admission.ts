/**
 * Expressions about requests, as admission policies and match conditions have them: their variables, and how one is
 * compiled. Source: apiserver's admission/plugin/cel.
 */
import { mutationFunctions } from "./environment.ts";
import { CelCompileError } from "./issues.ts";
import { authorizerType, resourceCheckType } from "./library/authorization.ts";
import { CelProgram } from "./program.ts";
import { patchTypes } from "./structs.ts";
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
  /** May the expression make `Object` and `JSONPatch`? */
  readonly patches?: boolean;
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
      // Times are declared, but come as texts.
      Object.entries(fields).map(([key, type]) => [
        key,
        { type: type === types.timestamp ? { ...type, loose: true } : type, key },
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
    const program = new CelProgram(
      source,
      scope.patches ? { variables, functions: mutationFunctions, structs: patchTypes } : { variables },
    );
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

/** An expression with what became of it. */
export type Expression = Compiled & { readonly source: string };
/** One that is computed when it is first read: `variables.name`. */
export type NamedExpression = Expression & { readonly name: string };

/** What is known of a variable's type where it is read: lists, maps and simple types. */
function variableType(type: CelType): CelType {
  switch (type.kind) {
    case "list":
    case "map":
      return { ...type, params: type.params.map(variableType) };
    case "object":
    case "opaque":
    case "type":
    case "wrapper":
    case "param":
    case "error":
      return dyn;
    default:
      return type;
  }
}

/** The type of `variables`, which grows with each that is compiled. */
export interface VariablesType {
  readonly type: CelType;
  readonly fields: Map<string, types.ObjectField>;
}

export function emptyVariables(): VariablesType {
  const fields = new Map<string, types.ObjectField>();
  return { type: types.objectOf("kubernetes.variables", fields), fields };
}

/** Compiles a variable, which knows those before it; those after it know it then. */
export function compileVariable(
  { name, expression }: { readonly name: string; readonly expression: string },
  scope: AdmissionScope,
  variables: VariablesType,
): NamedExpression {
  const compiled = compileAdmission(expression, { ...scope, variables: variables.type });
  variables.fields.set(name, { type: compiled.program ? variableType(compiled.program.type) : dyn, key: name });
  return { name, source: expression, ...compiled };
}

/** Compiles all variables of a policy, and gives the type of `variables`. */
export function compileVariables(
  variables: readonly { readonly name: string; readonly expression: string }[],
  scope: AdmissionScope,
): { readonly type: CelType; readonly expressions: readonly NamedExpression[] } {
  const known = emptyVariables();
  const expressions = variables.map((variable) => compileVariable(variable, scope, known));
  return { type: known.type, expressions };
}
