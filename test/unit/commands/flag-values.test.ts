import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { readFlags } from "../../../src/commands/flag-values.ts";
import { agentFlags, serverFlags } from "../../../src/commands/flags.ts";
import { serverOptionsFrom } from "../../../src/commands/server-options.ts";
import { ConfigurationError } from "../../../src/machinery/configuration-error.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

const read = (args: string[], environment: Record<string, string> = {}, warnings: string[] = []) =>
  readFlags("k3ts server", serverFlags, args, environment, (message) => warnings.push(message));

describe("flags (K3s documentation, configuration file and server flags)", () => {
  it("command line wins over file, file over environment, environment over default", (test) => {
    const file = join(temporaryDirectory(test), "config.yaml");
    writeFileSync(file, "data-dir: /from/file\n");
    const environment = { K3S_DATA_DIR: "/from/environment" };
    assert.equal(read([]).string("data-dir"), "/var/lib/rancher/k3s");
    assert.equal(read([], environment).string("data-dir"), "/from/environment");
    assert.equal(read(["--config", file], environment).string("data-dir"), "/from/file");
    assert.equal(read(["--config", file, "-d", "/from/args"], environment).string("data-dir"), "/from/args");
  });

  it("a list on the command line replaces the file's", (test) => {
    const file = join(temporaryDirectory(test), "config.yaml");
    writeFileSync(file, "tls-san:\n- a\n- b\n");
    assert.deepEqual(read(["--config", file]).list("tls-san"), ["a", "b"]);
    assert.deepEqual(read(["--config", file, "--tls-san=c", "--tls-san", "d,e"]).list("tls-san"), ["c", "d", "e"]);
  });

  it("drop-ins follow in the order of their names; key+ appends", (test) => {
    const file = join(temporaryDirectory(test), "config.yaml");
    writeFileSync(file, "node-label: [a=1]\nhttps-listen-port: 1\n");
    mkdirSync(`${file}.d`);
    writeFileSync(`${file}.d/20.yaml`, "https-listen-port: 3\n");
    writeFileSync(`${file}.d/10.yaml`, "node-label+: [b=2]\nhttps-listen-port: 2\n");
    const flags = read(["-c", file]);
    assert.deepEqual(flags.list("node-label"), ["a=1", "b=2"]);
    assert.equal(flags.integer("https-listen-port"), 3);
  });

  it("an unknown key in the file is skipped with a warning", (test) => {
    const file = join(temporaryDirectory(test), "config.yaml");
    writeFileSync(file, "no-such-flag: 1\n");
    const warnings: string[] = [];
    read(["-c", file], {}, warnings);
    assert.match(warnings[0]!, /no-such-flag/);
  });

  const errors: { rule: string; args: string[]; environment?: Record<string, string>; message: RegExp }[] = [
    { rule: "an unknown flag", args: ["--no-such-flag"], message: /unknown option '--no-such-flag'/ },
    { rule: "a missing value", args: ["--token"], message: /--token/ },
    {
      rule: "a file that was named and is not there",
      args: ["-c", "/does/not/exist.yaml"],
      message: /"\/does\/not\/exist.yaml" does not exist/,
    },
    { rule: "a flag that cannot be honoured", args: ["--rootless"], message: /--rootless is not supported/ },
    {
      rule: "settings of a component that it is not made of",
      args: ["--kube-apiserver-arg", "audit-log-path=/log"],
      message: /^--kube-apiserver-arg is not supported by this version of k3ts; remove it$/,
    },
    {
      rule: "a variable that cannot be honoured",
      args: [],
      environment: { K3S_SYSTEM_DEFAULT_REGISTRY: "registry.example" },
      message:
        /^--system-default-registry is not supported by this version of k3ts; remove it \(or the variable K3S_SYSTEM_DEFAULT_REGISTRY\)$/,
    },
  ];
  for (const { rule, args, environment, message } of errors) {
    it(`refuses ${rule}`, () => {
      assert.throws(
        () => read(args, environment),
        (error) => error instanceof ConfigurationError && message.test(error.message),
      );
    });
  }

  it("an agent refuses settings of the service proxy, too, and passes over empty ones", () => {
    const agent = (args: string[]) => readFlags("k3ts agent", agentFlags, args, {}, () => {});
    assert.throws(() => agent(["--kube-proxy-arg=proxy-mode=ipvs"]), /^ConfigurationError: --kube-proxy-arg is not/);
    assert.deepEqual(agent(["--kube-proxy-arg="]).list("kube-proxy-arg"), []);
  });

  it("a boolean takes its value only behind an equals sign", () => {
    const flags = read(["--debug", "--disable-agent=false"]);
    assert.equal(flags.boolean("debug"), true);
    assert.equal(flags.boolean("disable-agent"), false);
  });

  it("every flag of an agent is known to a server too, with few exceptions", () => {
    const names = new Set(serverFlags.map(({ name }) => name));
    assert.deepEqual(
      agentFlags.map(({ name }) => name).filter((name) => !names.has(name)),
      ["disable-apiserver-lb"],
    );
  });
});

describe("server options", () => {
  const options = (args: string[], environment: Record<string, string> = {}) =>
    serverOptionsFrom(read(args, environment), args, environment);

  it("the cluster's DNS is the tenth service address", () => {
    assert.equal(options(["--service-cidr=10.96.0.0/12"]).clusterDns, "10.96.0.10");
  });

  it("a join URL without a token starts a server of its own (some tools set K3S_URL on every container)", () => {
    assert.equal(options([], { K3S_URL: "https://localhost:6443" }).httpsPort, 6443);
    assert.equal(options([], { K3S_URL: "https://localhost:6443" }).join, undefined);
    assert.equal(options(["--token", "x"], { K3S_URL: "https://localhost:6443" }).join, "https://localhost:6443");
  });

  it("embedded etcd is begun by --cluster-init or its variable, and configured by K3s' flags", () => {
    assert.equal(options([]).clusterInit, false);
    assert.equal(options([], { K3S_CLUSTER_INIT: "true" }).clusterInit, true);
    const args = ["--cluster-init", "--node-ip=10.1.2.3", "--etcd-expose-metrics", "--etcd-arg=quota-backend-bytes=1"];
    assert.deepEqual(options([...args, "--etcd-arg", "metrics=extensive"]).etcd, {
      address: "10.1.2.3",
      exposeMetrics: true,
      extraArguments: ["quota-backend-bytes=1", "metrics=extensive"],
    });
  });

  it("--disable takes K3s' components and refuses names that mean nothing", () => {
    assert.deepEqual(
      [...options(["--disable=traefik", "--disable", "servicelb,metrics-server"]).disabled],
      ["traefik", "servicelb", "metrics-server"],
    );
    assert.throws(() => options(["--disable=traefic"]), /invalid value "traefic" for --disable/);
  });

  it("secrets never stand in what a node records of its command line", () => {
    const { agent } = options(["--token", "topsecret", "--agent-token=alsosecret"], { K3S_TOKEN: "third" });
    assert.doesNotMatch(JSON.stringify(agent), /topsecret|alsosecret|third/);
  });

  const errors: { args: string[]; message: RegExp }[] = [
    { args: ["--cluster-cidr=10.42.0.0"], message: /invalid value "10.42.0.0" for --cluster-cidr/ },
    { args: ["--flannel-backend=ipsec"], message: /unknown flannel backend "ipsec"; use vxlan, host-gw or none/ },
    { args: ["--node-taint=broken"], message: /invalid value "broken" for --node-taint/ },
    { args: ["--write-kubeconfig-mode=rw"], message: /octal/ },
    { args: ["--service-node-port-range=5"], message: /30000-32767/ },
    { args: ["--kubelet-arg=eviction-hard=x"], message: /--kubelet-arg=eviction-hard=x is not supported/ },
  ];
  for (const { args, message } of errors) {
    it(`refuses ${args.join(" ")}`, () => {
      assert.throws(
        () => options(args),
        (error) => error instanceof ConfigurationError && message.test(error.message),
      );
    });
  }
});
