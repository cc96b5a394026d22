/** Authority: https://kubernetes.io/docs/concepts/security/pod-security-standards/ and the texts of v1.36. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Container, PodSpec } from "../../../../../src/api/generated/core-v1.ts";
import { detailed, evaluate } from "../../../../../src/apiserver/admission/pod-security/evaluate.ts";
import type { LevelVersion } from "../../../../../src/apiserver/admission/pod-security/policy.ts";

type Spec = Partial<PodSpec>;

const confined: NonNullable<Container["securityContext"]> = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ["ALL"] },
  runAsNonRoot: true,
  seccompProfile: { type: "RuntimeDefault" },
};

const one = (securityContext: Container["securityContext"], rest: Partial<Container> = {}): Spec => ({
  containers: [{ name: "c", ...(securityContext ? { securityContext } : {}), ...rest }],
});

function judge(level: LevelVersion["level"], minor: LevelVersion["minor"], spec: Spec, annotations = {}): string {
  const pod = { metadata: { annotations }, spec: { containers: [{ name: "c" }], ...spec } as PodSpec };
  return detailed(evaluate({ level, minor }, pod));
}

const rows: readonly [rule: string, level: LevelVersion["level"], spec: Spec, said: string][] = [
  ["a plain container is allowed by the baseline", "baseline", {}, ""],
  [
    "a plain container misses all that the restricted level asks for",
    "restricted",
    {},
    'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
  ],
  ["a confined container is allowed by the restricted level", "restricted", one(confined), ""],
  [
    "the pod's own settings count for its containers",
    "restricted",
    {
      securityContext: { runAsNonRoot: true, seccompProfile: { type: "Localhost", localhostProfile: "p.json" } },
      ...one({ allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"], add: ["NET_BIND_SERVICE"] } }),
    },
    "",
  ],
  [
    "containers of all kinds are looked at, init containers first",
    "baseline",
    {
      containers: [{ name: "c", securityContext: { privileged: true } }],
      initContainers: [{ name: "i", securityContext: { privileged: true } }],
      ephemeralContainers: [{ name: "e", securityContext: { privileged: true } }],
    },
    'privileged (containers "i", "c", "e" must not set securityContext.privileged=true)',
  ],
  [
    "host namespaces",
    "baseline",
    { hostNetwork: true, hostPID: true, hostIPC: true },
    "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
  ],
  [
    "host ports, as text sorts them",
    "baseline",
    {
      containers: [
        { name: "a", ports: [{ containerPort: 1, hostPort: 80 }, { containerPort: 2 }] },
        { name: "b", ports: [{ containerPort: 1, hostPort: 443 }] },
      ],
    },
    'hostPort (containers "a", "b" use hostPorts 443, 80)',
  ],
  [
    "a host port",
    "baseline",
    one(undefined, { ports: [{ containerPort: 1, hostPort: 80 }] }),
    'hostPort (container "c" uses hostPort 80)',
  ],
  [
    "hosts of probes and hooks",
    "baseline",
    one(undefined, {
      livenessProbe: { httpGet: { port: 80, host: "b.example" } },
      lifecycle: { preStop: { tcpSocket: { port: 80, host: "a.example" } } },
    }),
    'probe or lifecycle host (container "c" uses probe or lifecycle hosts "a.example", "b.example")',
  ],
  [
    "capabilities beyond the default ones",
    "baseline",
    one({ capabilities: { add: ["SYS_ADMIN", "CHOWN", "NET_RAW"] } }),
    'non-default capabilities (container "c" must not include "NET_RAW", "SYS_ADMIN" in securityContext.capabilities.add)',
  ],
  [
    "the restricted rule of capabilities stands for the baseline's",
    "restricted",
    one({ ...confined, capabilities: { add: ["CHOWN"] } }),
    'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]; container "c" must not include "CHOWN" in securityContext.capabilities.add)',
  ],
  [
    "host paths",
    "baseline",
    {
      volumes: [
        { name: "a", hostPath: { path: "/" } },
        { name: "b", emptyDir: {} },
      ],
    },
    'hostPath volumes (volume "a")',
  ],
  [
    "volumes that are not the cluster's own",
    "restricted",
    {
      ...one(confined),
      volumes: [
        { name: "a", hostPath: { path: "/" } },
        { name: "b", nfs: { server: "s", path: "/" } },
        { name: "d", configMap: { name: "x" } },
        { name: "e", image: { reference: "x" } },
      ],
    },
    'restricted volume types (volumes "a", "b" use restricted volume types "hostPath", "nfs")',
  ],
  [
    "AppArmor",
    "baseline",
    {
      securityContext: { appArmorProfile: { type: "Unconfined" } },
      ...one({ appArmorProfile: { type: "Unconfined" } }),
    },
    'forbidden AppArmor profile (pod and container "c" must not set AppArmor profile type to "Unconfined")',
  ],
  [
    "seccomp, explicitly off",
    "baseline",
    {
      securityContext: { seccompProfile: { type: "Unconfined" } },
      ...one({ seccompProfile: { type: "RuntimeDefault" } }),
    },
    'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
  ],
  [
    "SELinux types, users and roles",
    "baseline",
    {
      securityContext: { seLinuxOptions: { type: "spc_t", user: "u" } },
      ...one({ seLinuxOptions: { type: "other_t", role: "r" } }),
    },
    'seLinuxOptions (pod and container "c" set forbidden securityContext.seLinuxOptions: types "other_t", "spc_t"; user may not be set; role may not be set)',
  ],
  [
    "sysctls",
    "baseline",
    {
      securityContext: {
        sysctls: [
          { name: "kernel.msgmax", value: "1" },
          { name: "net.ipv4.tcp_wmem", value: "1" },
        ],
      },
    },
    "forbidden sysctls (kernel.msgmax)",
  ],
  [
    "host processes of Windows",
    "baseline",
    { securityContext: { windowsOptions: { hostProcess: true } } },
    "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
  ],
  [
    "an unmasked /proc",
    "baseline",
    one({ procMount: "Unmasked" }),
    'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
  ],
  ["an unmasked /proc in a user namespace", "baseline", { hostUsers: false, ...one({ procMount: "Unmasked" }) }, ""],
  [
    "an unmasked /proc in a user namespace is still not restricted",
    "restricted",
    { hostUsers: false, ...one({ ...confined, procMount: "Unmasked" }) },
    'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
  ],
  [
    "root, said explicitly, comes before what is only missing",
    "restricted",
    { containers: [{ name: "a", securityContext: { ...confined, runAsNonRoot: false, runAsUser: 0 } }] },
    'runAsNonRoot != true (container "a" must not set securityContext.runAsNonRoot=false), runAsUser=0 (container "a" must not set runAsUser=0)',
  ],
  [
    "root in a user namespace",
    "restricted",
    { hostUsers: false, ...one({ ...confined, runAsNonRoot: false, runAsUser: 0 }) },
    "",
  ],
  [
    "Windows pods cannot set what Linux needs",
    "restricted",
    { os: { name: "windows" }, securityContext: { runAsNonRoot: true } },
    "",
  ],
  ["everything, where nothing is asked", "privileged", { hostNetwork: true, ...one({ privileged: true }) }, ""],
];

for (const [rule, level, spec, said] of rows) {
  test(`${level}: ${rule}`, () => assert.equal(judge(level, "latest", spec), said));
}

const pinned: readonly [rule: string, level: LevelVersion["level"], spec: Spec, from: number, allowed: boolean][] = [
  [
    "hosts of probes are forbidden",
    "baseline",
    one(undefined, { livenessProbe: { tcpSocket: { port: 1, host: "h" } } }),
    34,
    false,
  ],
  ["container_engine_t is allowed", "baseline", one({ seLinuxOptions: { type: "container_engine_t" } }), 31, true],
  [
    "tcp_keepalive_time is allowed",
    "baseline",
    { securityContext: { sysctls: [{ name: "net.ipv4.tcp_keepalive_time", value: "1" }] } },
    29,
    true,
  ],
  [
    "tcp_rmem is allowed",
    "baseline",
    { securityContext: { sysctls: [{ name: "net.ipv4.tcp_rmem", value: "1" }] } },
    32,
    true,
  ],
  ["privilege escalation is forbidden", "restricted", { securityContext: { runAsNonRoot: true } }, 8, false],
  ["root as a number is forbidden", "restricted", one({ ...confined, runAsUser: 0 }), 23, false],
  [
    "user namespaces may have root",
    "restricted",
    { hostUsers: false, ...one({ ...confined, runAsUser: 0 }) },
    35,
    true,
  ],
];

for (const [rule, level, spec, from, allowed] of pinned) {
  test(`${level}: ${rule} from v1.${from} on`, () => {
    assert.equal(judge(level, from, spec) === "", allowed);
    assert.equal(judge(level, from - 1, spec) === "", !allowed);
    assert.equal(judge(level, 99, spec), judge(level, "latest", spec), "versions to come are the latest");
  });
}

test("annotations of AppArmor count in every version, those of seccomp up to v1.18", () => {
  const appArmor = { "container.apparmor.security.beta.kubernetes.io/c": "unconfined" };
  assert.equal(
    judge("baseline", "latest", {}, appArmor),
    'forbidden AppArmor profile (annotation must not set AppArmor profile type to "container.apparmor.security.beta.kubernetes.io/c="unconfined"")',
  );
  const seccomp = {
    "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
    "container.seccomp.security.alpha.kubernetes.io/c": "docker/default",
  };
  assert.equal(
    judge("baseline", 18, {}, seccomp),
    'seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")',
  );
  assert.equal(judge("baseline", 19, {}, seccomp), "");
});
