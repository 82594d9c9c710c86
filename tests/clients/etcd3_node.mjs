// The Node client `etcd3` (1.1) against three members; run by conductor.py.
//
// This library knows several addresses and opens broken watches again by itself, after the last
// revision that it has seen; only which address it takes first is arranged here.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(`${process.env.CLIENT_ENVIRONMENT}/package.json`);
const { Etcd3, ...etcd3 } = require("etcd3");
const { ConnectionPool } = require("etcd3/lib/connection-pool.js");
const { ExponentialBackoff } = require("cockatiel");

const MEMBERS = process.env.MEMBERS.split(",").map((address) => `http://${address}`);
const P = "etcd3-node/";
const LEASE_S = 2; // the shortest that etcd grants at its default election timeout
const LATE_S = 6; // a lease ends within its TTL, an election and a second; and a busy machine
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function check(name, body) {
  try {
    await body();
  } catch (error) {
    console.log(`FAILED ${name}`);
    console.error(error);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}

async function ask(order) {
  console.log(`! ${order}`);
  assert.equal((await answers.next()).value, "done");
}

async function until(condition, timeout_s = 30) {
  const deadline = Date.now() + timeout_s * 1000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, "it did not happen in time");
    await sleep(20);
  }
}

// On its own the library waits up to half a minute before it opens a watch again.
const connect = (...numbers) => new Etcd3({
  hosts: numbers.map((n) => MEMBERS[n]), dialTimeout: 2000,
  faultHandling: { watchBackoff: new ExponentialBackoff({ maxDelay: 1000 }) },
});
const fails = (promise, kind, text) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
    assert.ok(error.message.includes(text), `${error.message} does not say ${text}`);
    return true;
  });

async function keysAndValues(client) {
  const kv = client.namespace(`${P}kv/`);
  const first = Number((await kv.put("a").value("1")).header.revision);
  const previous = await kv.put("a").value("2").getPrevious();
  assert.equal(previous.value.toString(), "1");
  const got = (await kv.get("a").serializable(false).exec()).kvs[0];
  assert.deepEqual(
    [got.value.toString(), got.create_revision, got.mod_revision, got.version],
    ["2", `${first}`, `${first + 1}`, "2"]);
  assert.equal(await kv.get("a").revision(first).string(), "1");
  await kv.put("b").value(9);
  await kv.put("c").value("5");
  assert.equal(await kv.get("none"), null);
  assert.equal(await kv.get("b").number(), 9);
  const all = kv.getAll().prefix("");
  assert.deepEqual(await all.keys(), ["a", "b", "c"]);
  assert.equal(await kv.getAll().prefix("").count(), 3);
  assert.deepEqual(
    Object.values(await kv.getAll().sort("Value", "Descend").limit(2).strings()), ["9", "5"]);
  const limited = await kv.getAll().sort("Key", "Ascend").limit(2).exec();
  assert.deepEqual([limited.count, limited.more, limited.kvs.length], ["3", true, 2]);
  assert.deepEqual(await kv.getAll().minModRevision(first + 2).keys(), ["b", "c"]);
  assert.deepEqual(await kv.getAll().maxCreateRevision(first).keys(), ["a"]);
  assert.deepEqual(await kv.getAll().inRange({ start: "a", end: "c" }).keys(), ["a", "b"]);
  const touched = Number((await kv.put("a").touch()).header.revision);
  assert.equal((await kv.get("a").exec()).kvs[0].mod_revision, `${touched}`);
  assert.equal(await kv.get("a"), "2");
  const gone = await kv.delete().key("a").getPrevious();
  assert.deepEqual(gone.map((each) => each.value.toString()), ["2"]);
  assert.equal((await kv.delete().key("a").exec()).deleted, "0");
  assert.equal((await kv.delete().all().exec()).deleted, "2");
}

async function transactions(client) {
  const kv = client.namespace(`${P}txn/`);
  await kv.put("a").value("m");
  await kv.put("a").value("n");
  const { create_revision: create, mod_revision: mod } = (await kv.get("a").exec()).kvs[0];
  let done = await kv.if("a", "Value", "==", "n").and("a", "Value", "!=", "m")
    .and("a", "Value", ">", "m").and("a", "Value", "<", "o").and("a", "Version", "==", 2)
    .and("a", "Version", ">", 1).and("a", "Create", "==", create).and("a", "Mod", "==", mod)
    .and("none", "Version", "==", 0)
    .then(kv.put("b").value("1"), kv.get("a"), kv.delete().key("a")).commit();
  assert.equal(done.succeeded, true);
  assert.equal(done.responses[1].response_range.kvs[0].value.toString(), "n");
  assert.equal(done.responses[2].response_delete_range.deleted, "1");
  assert.equal((await kv.get("b").exec()).kvs[0].mod_revision, `${Number(mod) + 1}`);
  done = await kv.if("a", "Version", ">", 0).then(kv.put("b").value("2"))
    .else(kv.get("b")).commit();
  assert.equal(done.succeeded, false);
  assert.equal(done.responses[0].response_range.kvs[0].value.toString(), "1");
  await Promise.all([1, 2, 3].map(() => kv.stm({ retries: 20 }).transact(async (tx) =>
    tx.put("counted").value(Number((await tx.get("counted").string()) ?? 0) + 1))));
  assert.equal(await kv.get("counted").number(), 3);
  await fails(kv.if("a", "Version", "==", 0)
    .then(kv.put("a").value("1"), kv.put("a").value("2")).commit(),
    etcd3.GRPCInvalidArgumentError, "etcdserver: duplicate key given in txn request");
}

function listen(watcher) {
  const heard = [];
  watcher.on("put", (kv, old) => heard.push(
    ["put", kv.key.toString(), kv.value.toString(), old?.value.toString()]));
  watcher.on("delete", (kv, old) => heard.push(
    ["delete", kv.key.toString(), "", old?.value.toString()]));
  return heard;
}

async function watches(client) {
  const kv = client.namespace(`${P}watch/`);
  const first = (await kv.put("a").value("1")).header.revision;
  await kv.put("a").value("2");
  await kv.delete().key("a");
  await kv.put("b").value("3");
  const builder = kv.watch().prefix("").startRevision(first).withPreviousKV();
  const watcher = builder.watcher();
  const heard = listen(watcher);
  const ends = await kv.watch().key("a").only("delete").create();
  const ended = listen(ends);
  await kv.put("a").value("4");
  await until(() => heard.length === 5);
  assert.deepEqual(heard, [
    ["put", "a", "1", undefined], ["put", "a", "2", "1"], ["delete", "a", "", "2"],
    ["put", "b", "3", undefined], ["put", "a", "4", undefined]]);
  await kv.delete().key("a");
  await until(() => ended.length > 0);
  assert.deepEqual(ended.map(([kind]) => kind), ["delete"]);
  await watcher.cancel();
  await kv.put("b").value("5");
  await ends.cancel();
  assert.equal(heard.length, 6);
}

async function errors(client) {
  const kv = client.namespace(`${P}errors/`);
  const last = Number((await kv.put("a").value("1")).header.revision);
  await kv.put("a").value("2");
  await client.kv.compact({ revision: last });
  await client.kv.compact({ revision: last + 1, physical: true });
  const compacted = "etcdserver: mvcc: required revision has been compacted";
  const future = "etcdserver: mvcc: required revision is a future revision";
  await fails(client.kv.compact({ revision: last }), etcd3.GRPCOutOfRangeError, compacted);
  await fails(kv.get("a").revision(last).exec(), etcd3.GRPCOutOfRangeError, compacted);
  await fails(kv.get("a").revision(last + 999_999).exec(), etcd3.GRPCOutOfRangeError, future);
  const lost = kv.watch().key("a").startRevision(`${last}`).watcher();
  await fails(new Promise((resolve, reject) => lost.on("error", reject)),
    Error, "Watcher canceled");
  await fails(kv.put("a").value("3").lease("12345").exec(), etcd3.EtcdLeaseInvalidError,
    "requested lease not found");
  await fails(kv.put("a").value(Buffer.alloc(7 << 18)).exec(), etcd3.GRPCInvalidArgumentError,
    "etcdserver: request is too large");
  await fails(client.put("").value("x").exec(), etcd3.GRPCInvalidArgumentError,
    "etcdserver: key is not provided");
}

async function leases(client) {
  const kv = client.namespace(`${P}lease/`);
  const kept = kv.lease(LEASE_S);
  const left = kv.lease(LEASE_S, { autoKeepAlive: false });
  let alive = 0;
  let lost = 0;
  kept.on("keepaliveSucceeded", () => { alive += 1; });
  kept.on("lost", () => { lost += 1; });
  await Promise.all([kept.grant(), left.grant()]);
  const begun = Date.now();
  await kept.put("kept").value("1");
  await left.put("left").value("1");
  const info = await client.leaseClient.leaseTimeToLive({ ID: await kept.grant(), keys: true });
  assert.deepEqual([info.grantedTTL, info.keys.map(String)], [`${LEASE_S}`, [`${P}lease/kept`]]);
  await until(async () => (await kv.get("left")) === null, LEASE_S + LATE_S);
  assert.ok(Date.now() - begun >= LEASE_S * 1000, "the lease ended early");
  await fails(left.keepaliveOnce(), etcd3.EtcdLeaseInvalidError, "");
  assert.equal(await kv.get("kept"), "1");
  assert.ok(alive >= 2, `renewed ${alive} times`);
  await kept.revoke();
  assert.equal(await kv.get("kept"), null);
  assert.equal(lost, 0);
  await fails(client.leaseClient.leaseGrant({ ID: await client.lease(60).grant(), TTL: 60 }),
    etcd3.GRPCFailedPreconditionError, "etcdserver: lease already exists");
}

async function locks(one, other) {
  const name = `${P}lock`;
  const first = one.lock(name).ttl(60);
  await first.acquire();
  await fails(other.lock(name).acquire(), etcd3.EtcdLockFailedError, "Failed to acquire a lock");
  await first.release();
  // The library's locks do not wait, and their leases are kept alive until told otherwise.
  const silent = other.lock(name).ttl(LEASE_S);
  const asked = Date.now();
  await silent.acquire();
  silent.lease.release();
  const third = one.lock(name).ttl(60);
  await until(() => third.acquire().then(() => true, (error) => {
    assert.ok(error instanceof etcd3.EtcdLockFailedError, error.message);
    return false;
  }), LEASE_S + LATE_S);
  assert.ok(Date.now() - asked >= LEASE_S * 1000, "the lock of a silent holder ended early");
  await third.release();
  assert.equal(await other.lock(name).do(async () => "held"), "held");
}

async function elections(one, other) {
  const here = one.election("etcd3-node", 60);
  const there = other.election("etcd3-node", 60);
  assert.equal(await here.leader(), undefined);
  const mine = here.campaign("one");
  await mine.wait();
  const observer = await there.observe();
  const changes = [];
  observer.on("change", (leader) => changes.push(leader));
  await until(() => observer.leader() === "one");
  const theirs = there.campaign("two");
  let elected = false;
  theirs.on("elected", () => { elected = true; });
  await mine.proclaim("uno");
  await until(() => observer.leader() === "uno");
  assert.equal(await there.leader(), "uno");
  assert.equal(elected, false);
  await mine.resign();
  await until(() => elected && observer.leader() === "two");
  assert.equal(await here.leader(), "two");
  assert.deepEqual(changes, ["uno", "two"]);
  await observer.cancel();
  await theirs.resign();
  assert.equal(await here.leader(), undefined);
}

function follow(watcher) {
  const follower = { seen: [], breaks: 0, watcher };
  watcher.on("put", (kv) => follower.seen.push([kv.mod_revision, kv.value.toString()]));
  watcher.on("disconnected", () => { follower.breaks += 1; });
  return follower;
}

async function write(state, prefix) {
  const client = connect(2);
  for (let number = 0; !state.stop; number += 1) {
    await client.put(`${prefix}${number % 10}`).value(`${number}`).then(
      () => state.acknowledged.push(`${number}`),
      () => undefined); // it may or may not be there
    await sleep(10);
  }
  client.close();
}

// The member that the watch is at is killed and started again while others write.
async function reconnect(client, prefix, victim, numbers) {
  const first = (await client.put(`${prefix}first`).value("begin")).header.revision;
  const followers = connect(...numbers);
  ConnectionPool.deterministicOrder = true; // the last of its addresses comes first
  const follower = follow(followers.watch().prefix(prefix).startRevision(first).watcher());
  await until(() => follower.seen.length > 0);
  ConnectionPool.deterministicOrder = false;
  const state = { acknowledged: [], stop: false };
  const writing = write(state, prefix);
  const more = async (list) => {
    const before = list.length;
    await until(() => list.length > before + 20);
  };
  await more(follower.seen);
  await ask(`kill ${victim}`);
  await until(() => follower.breaks > 0);
  await more(state.acknowledged);
  await ask(`start ${victim}`);
  await more(follower.seen);
  state.stop = true;
  await writing;
  const last = (await client.put(`${prefix}last`).value("end")).header.revision;
  await until(() => follower.seen.at(-1)[0] === last);
  const whole = follow(client.watch().prefix(prefix).startRevision(first).watcher());
  await until(() => whole.seen.length > 0 && whole.seen.at(-1)[0] === last);
  await whole.watcher.cancel();
  await follower.watcher.cancel();
  followers.close();
  assert.deepEqual(follower.seen, whole.seen);
  const told = whole.seen.map(([, value]) => value);
  for (const value of state.acknowledged) {
    assert.equal(told.filter((each) => each === value).length, 1, value);
  }
}

// The writer and the judge are at the third member, which is never killed.
const [one, other] = [connect(1), connect(2)];
await check("puts, ranges with options, deletes, namespaces", () => keysAndValues(one));
await check("transactions: compares, branches, software transactions", () => transactions(one));
await check("watches: past, present, filters, previous values, cancel", () => watches(one));
await check("errors: compacted, future, lease, size, key", () => errors(one));
await check("leases: kept alive, ended, revoked", () => leases(one));
await check("lock: two contenders, a release, a silent holder", () => locks(one, other));
await check("election: campaign, observe, proclaim, resign", () => elections(one, other));
await check("watch moves on when its member, the leader, is killed",
  () => reconnect(other, `${P}moves/`, 0, [1, 0]));
await check("watch goes on at its own member, killed and restarted",
  () => reconnect(other, `${P}stays/`, 1, [1]));
console.log("all passed");
process.exit(0);
