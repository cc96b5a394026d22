import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  dialOrder,
  keeps,
  type ServerStates,
  unknownServers,
  withDial,
  withServers,
  withTunnel,
} from "../../../../src/agent/load-balancer/server-states.ts";

/** Keeps lists in the order in which they are given. */
function inOrder() {
  let place = 0;
  return () => (place += 0.01);
}

/** a, b and c are listed; d is where --server points. */
function abc(fallback = "d:1"): ServerStates {
  return withServers(unknownServers(fallback), ["a:1", "b:1", "c:1"], inOrder());
}

const to = (address: string) => ({ dialled: address, reached: address });

describe("the order in which servers are tried", () => {
  it("is the server of --server alone while no other is known", () => {
    assert.deepEqual(dialOrder(unknownServers("d:1")), ["d:1"]);
    assert.deepEqual(dialOrder(withTunnel(unknownServers("d:1"), "d:1", false)), ["d:1"]);
  });

  it("begins with the one in use, then has those with a tunnel, the untried, and --server's last", () => {
    let states = withTunnel(abc(), "c:1", true);
    assert.deepEqual(dialOrder(states), ["c:1", "a:1", "b:1", "d:1"]);
    states = withDial(states, "b:1", true);
    assert.deepEqual(dialOrder(states), ["b:1", "c:1", "a:1", "d:1"]);
  });

  it("keeps the one in use when another proves to work", () => {
    const states = withTunnel(withDial(abc(), "b:1", true), "a:1", true);
    assert.equal(dialOrder(states)[0], "b:1");
  });

  it("has failed ones after all others, --server's too, but leaves none out", () => {
    let states = withDial(withDial(abc(), "a:1", true), "a:1", false);
    assert.deepEqual(dialOrder(states), ["b:1", "c:1", "d:1", "a:1"]);
    states = withTunnel(withTunnel(withDial(states, "d:1", false), "b:1", false), "c:1", false);
    assert.deepEqual(dialOrder(states), ["a:1", "b:1", "c:1", "d:1"]);
  });

  it("takes a failed one up again when it takes a connection, or its tunnel stands", () => {
    const failed = withTunnel(withDial(abc(), "a:1", false), "b:1", false);
    assert.deepEqual(dialOrder(withDial(failed, "a:1", true)), ["a:1", "c:1", "d:1", "b:1"]);
    assert.deepEqual(dialOrder(withTunnel(failed, "b:1", true)), ["b:1", "c:1", "d:1", "a:1"]);
  });

  it("has --server's server once, in its place, where it is one of the list", () => {
    assert.deepEqual(dialOrder(withDial(abc("b:1"), "a:1", true)), ["a:1", "b:1", "c:1"]);
  });

  it("differs between agents that hear of the same servers", () => {
    const places = [0.9, 0.1, 0.5];
    const states = withServers(unknownServers("d:1"), ["a:1", "b:1", "c:1"], () => places.shift()!);
    assert.deepEqual(states.listed, ["b:1", "c:1", "a:1"]);
  });
});

describe("the list of servers", () => {
  it("never becomes empty", () => {
    const states = abc();
    assert.equal(withServers(states, [], Math.random), states);
  });

  it("stays as it is when it is told again in another order", () => {
    const states = abc();
    assert.equal(withServers(states, ["c:1", "a:1", "b:1", "a:1"], Math.random), states);
  });

  it("forgets a server that leaves, and knows nothing of it when it comes again", () => {
    const gone = withServers(withDial(withTunnel(abc(), "a:1", true), "a:1", true), ["b:1"], inOrder());
    assert.deepEqual(dialOrder(gone), ["b:1", "d:1"]);
    const back = withServers(gone, ["b:1", "a:1"], inOrder());
    assert.deepEqual(dialOrder(back), ["b:1", "a:1", "d:1"]);
  });

  it("takes no word about a server that is not in it", () => {
    const states = abc();
    assert.equal(withTunnel(states, "x:1", true), states);
  });
});

describe("a connection", () => {
  it("stays while its server is listed, whatever the others do", () => {
    assert.equal(keeps(withTunnel(abc(), "b:1", true), to("a:1")), true);
  });

  it("ends when its server leaves the list", () => {
    const states = withServers(abc(), ["b:1"], inOrder());
    assert.equal(keeps(states, to("a:1")), false);
    assert.equal(keeps(states, to("b:1")), true);
  });

  it("to a failed server ends as soon as another is known to work", () => {
    const failed = withTunnel(abc(), "a:1", false);
    assert.equal(keeps(failed, to("a:1")), true, "there may be no better one");
    assert.equal(keeps(withTunnel(failed, "b:1", true), to("a:1")), false);
  });

  it("to --server's server, where that is none of the list, ends as soon as one of the list works", () => {
    assert.equal(keeps(abc(), to("d:1")), true);
    assert.equal(keeps(withTunnel(abc(), "a:1", true), to("d:1")), false);
  });

  it("that was dialled by name is one to the listed server that the name leads to", () => {
    const states = withTunnel(abc("server:1"), "a:1", true);
    assert.equal(keeps(states, { dialled: "server:1", reached: "a:1" }), true);
    assert.equal(keeps(states, { dialled: "server:1", reached: "x:1" }), false);
    const gone = withTunnel(withServers(states, ["b:1"], inOrder()), "b:1", true);
    assert.equal(keeps(gone, { dialled: "server:1", reached: "a:1" }), false);
  });
});
