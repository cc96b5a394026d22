/** Do the expressions of a policy fit the kinds that it is for? Loads the expression engine: import it where there are policies. */
import type { ValidatingAdmissionPolicy } from "../api/generated/admissionregistration-v1.ts";
import type { CustomResourceDefinition } from "../api/generated/apiextensions-v1.ts";
import { builtInResources } from "../api/registry.ts";
import { builtInSchema } from "../api/schemas.ts";
import { type AdmissionScope, compileAdmission, compileVariables } from "../machinery/cel/admission.ts";
import { typeOfSchema } from "../machinery/cel/schema-objects.ts";
import { declare } from "../machinery/cel/schema-types.ts";
import { type CelType, objectOf } from "../machinery/cel/types.ts";
import { type DeepReadonly, parseApiVersion } from "../machinery/object.ts";
import type { JsonSchemaProps } from "../machinery/schema-from-openapi.ts";

/** One of status.typeChecking.expressionWarnings. */
export interface ExpressionWarning {
  readonly fieldRef: string;
  readonly warning: string;
}

/** More are not looked at. */
const maxTypes = 10;
const compilationFailed = "compilation failed: ";

interface Kind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

type Definitions = readonly DeepReadonly<CustomResourceDefinition>[];
type Policy = DeepReadonly<ValidatingAdmissionPolicy>;

/** What in a policy's validations cannot be right for the kinds that it names. */
export function checkPolicyTypes(policy: Policy, definitions: Definitions): ExpressionWarning[] {
  const { paramKind, variables = [], validations = [] } = policy.spec ?? {};
  const paramsType =
    paramKind &&
    typeOfKind({ ...parseApiVersion(paramKind.apiVersion ?? ""), kind: paramKind.kind ?? "" }, definitions);
  const scopes = kindsOf(policy, definitions).flatMap((kind) => {
    const object = typeOfKind(kind, definitions);
    if (!object) return [];
    const base: AdmissionScope = {
      params: paramKind !== undefined,
      authorizer: true,
      object,
      ...(paramsType ? { paramsType } : {}),
    };
    return [{ kind, scope: { ...base, variables: compileVariables(variables, base).type } }];
  });
  const check = (fieldRef: string, expression: string): ExpressionWarning[] => {
    const found = scopes.flatMap(({ kind, scope }) => {
      const { fault } = compileAdmission(expression, scope);
      return fault?.startsWith(compilationFailed) ? [`${shown(kind)}: ${fault.slice(compilationFailed.length)}\n`] : [];
    });
    return found.length === 0 ? [] : [{ fieldRef, warning: found.join("\n") }];
  };
  return validations.flatMap(({ expression, messageExpression }, i) => [
    ...check(`spec.validations[${i}].expression`, expression),
    ...(messageExpression ? check(`spec.validations[${i}].messageExpression`, messageExpression) : []),
  ]);
}

const shown = ({ group, version, kind }: Kind) => `${group}/${version}, Kind=${kind}`;

/** The kinds that a policy's rules name, without what they name by wildcards. */
function kindsOf(policy: Policy, definitions: Definitions): Kind[] {
  const kinds = new Map<string, Kind>();
  for (const rule of policy.spec?.matchConstraints?.resourceRules ?? []) {
    const { apiGroups = [], apiVersions = [], resources = [] } = rule;
    if ([...apiGroups, ...apiVersions].some((one) => one.includes("*"))) continue;
    let count = 0;
    for (const group of apiGroups.toSorted()) {
      for (const version of apiVersions.toSorted()) {
        for (const resource of resources.filter((one) => !/[*/]/.test(one)).sort()) {
          const kind = kindOfResource(group, version, resource, definitions);
          if (!kind || count === maxTypes) continue;
          kinds.set(shown({ group, version, kind }), { group, version, kind });
          count++;
        }
      }
    }
  }
  const order = ({ group, version, kind }: Kind) => `${group}\0${version}\0${kind}`;
  return [...kinds.values()].sort((a, b) => (order(a) < order(b) ? -1 : 1));
}

function kindOfResource(
  group: string,
  version: string,
  resource: string,
  definitions: Definitions,
): string | undefined {
  const builtIn = builtInResources.find(
    (one) => one.group === group && one.version === version && one.resource === resource,
  );
  if (builtIn) return builtIn.kind;
  const found = definitions.find(({ spec }) => spec.group === group && spec.names.plural === resource);
  return found && servedVersion(found, version) ? found.spec.names.kind : undefined;
}

const servedVersion = ({ spec }: DeepReadonly<CustomResourceDefinition>, version: string) =>
  spec.versions.find(({ name, served }) => served && name === version);

function typeOfKind({ group, version, kind }: Kind, definitions: Definitions): CelType | undefined {
  const builtIn = builtInResources.find((one) => one.group === group && one.version === version && one.kind === kind);
  if (builtIn) return typeOfSchema(builtIn.schema, kind);
  const found = definitions.find(({ spec }) => spec.group === group && spec.names.kind === kind);
  const props = found && servedVersion(found, version)?.schema?.openAPIV3Schema;
  const type = props && declare(props as unknown as JsonSchemaProps, true, kind)?.type;
  if (!type?.fields) return undefined;
  // What is published of a custom resource has the whole metadata.
  const metadata = typeOfSchema(builtInSchema("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"), `${kind}.metadata`)!;
  return objectOf(kind, new Map([...type.fields, ["metadata", { type: metadata, key: "metadata" }]]));
}
