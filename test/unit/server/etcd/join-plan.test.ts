import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { clientUrlsOf, type MemberFacts, planJoin } from "../../../../src/server/etcd/join-plan.ts";

const member = (name: string, address: string, isLearner = false): MemberFacts => ({
  name,
  peerUrls: [`https://${address}:2380`],
  clientUrls: name ? [`https://${address}:2379`] : [],
  isLearner,
});
const first = member("one-aaaaaaaa", "10.0.0.1");
const self = { name: "two-bbbbbbbb", nodeName: "two", address: "10.0.0.2" };

describe("a server that joins", () => {
  test("is added to the members that are there", () => {
    assert.deepEqual(planJoin([first], self), {
      kind: "join",
      add: true,
      cluster: ["one-aaaaaaaa=https://10.0.0.1:2380", "two-bbbbbbbb=https://10.0.0.2:2380"],
    });
  });

  test("is not added twice when it was cut off: a member without a name at its address is itself", () => {
    assert.deepEqual(planJoin([first, member("", "10.0.0.2", true)], self), {
      kind: "join",
      add: false,
      cluster: ["one-aaaaaaaa=https://10.0.0.1:2380", "two-bbbbbbbb=https://10.0.0.2:2380"],
    });
    assert.equal(planJoin([first, member(self.name, "10.0.0.2")], self).kind, "join");
  });

  test("is refused when another member has its node's name, also one at its own address with data that is gone", () => {
    for (const address of ["10.0.0.9", "10.0.0.2"]) {
      assert.deepEqual(planJoin([first, member("two-cccccccc", address)], self), {
        kind: "duplicate",
        member: "two-cccccccc",
      });
    }
  });

  test("takes a name that begins like its own, or has hyphens, for another one", () => {
    assert.equal(planJoin([member("two-more-cccccccc", "10.0.0.9")], self).kind, "join");
    const hyphens = { ...self, name: "two-more-dddddddd", nodeName: "two-more" };
    assert.equal(planJoin([member("two-more-cccccccc", "10.0.0.9")], hyphens).kind, "duplicate");
  });

  test("asks members that vote and have run, the one that it was pointed at first, and not itself", () => {
    const members = [
      first,
      member("", "10.0.0.4", true),
      member("three-cccccccc", "10.0.0.3"),
      member("five-dddddddd", "10.0.0.5", true),
      member("two-bbbbbbbb", "10.0.0.2"),
    ];
    assert.deepEqual(clientUrlsOf(members, self), ["https://10.0.0.1:2379", "https://10.0.0.3:2379"]);
    assert.deepEqual(clientUrlsOf(members, self, "10.0.0.3"), ["https://10.0.0.3:2379", "https://10.0.0.1:2379"]);
  });
});
