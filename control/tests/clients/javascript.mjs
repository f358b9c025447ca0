// The JavaScript client against a kubeconfig's cluster: `node javascript.mjs CLIENT-FOLDER KUBECONFIG [NAMESPACE/POD]`.
// Without a pod it does what needs no node; with one it does what needs that running pod, which serves "hello" on port 8080.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [folder, kubeconfig, pod] = process.argv.slice(2);
const k8s = await import(pathToFileURL(`${folder}/node_modules/@kubernetes/client-node/dist/index.js`));

const DEADLINE_MS = 60_000;
const namespace = 'javascript';
const path = `/api/v1/namespaces/${namespace}/configmaps`;
const labels = { of: 'javascript' };
const labelSelector = 'of=javascript';
const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);

const configMap = (name, data) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace, labels }, data });
const as = (type) => k8s.setHeaderOptions('Content-Type', type);

async function eventually(what, holds) {
    const end = Date.now() + DEADLINE_MS;
    for (;;) {
        const value = await holds();
        if (value) return value;
        assert(Date.now() < end, `not in time: ${what}`);
        await sleep(50);
    }
}

async function refused(code, reason, promise) {
    const error = await promise.then(() => assert.fail(`it should be refused with ${code} ${reason}`), (error) => error);
    const status = typeof error.body === 'string' ? JSON.parse(error.body) : error.body;
    assert.equal(error.code, code, error);
    assert.equal(status?.reason, reason, error);
    return status;
}

const withoutANode = {
    async 'says what it is'() {
        const version = await config.makeApiClient(k8s.VersionApi).getCode();
        assert.match(version.major + version.minor, /^\d+$/);
        const { groups } = await config.makeApiClient(k8s.ApisApi).getAPIVersions();
        assert(groups.some((group) => group.name === 'apps' && group.preferredVersion.version === 'v1'));
        await core.createNamespace({ body: { metadata: { name: namespace } } });
    },

    async 'creates, reads, replaces and refuses what is stale'() {
        const body = configMap('one', { a: '1' });
        await core.createNamespacedConfigMap({ namespace, body, dryRun: 'All' });
        await refused(404, 'NotFound', core.readNamespacedConfigMap({ name: 'one', namespace }));
        const made = await core.createNamespacedConfigMap({ namespace, body });
        await refused(409, 'AlreadyExists', core.createNamespacedConfigMap({ namespace, body }));
        const fresh = await core.readNamespacedConfigMap({ name: 'one', namespace });
        assert.deepEqual(fresh.data, { a: '1' });
        assert(fresh.metadata.creationTimestamp instanceof Date);
        fresh.data.b = '2';
        await core.replaceNamespacedConfigMap({ name: 'one', namespace, body: fresh });
        await refused(409, 'Conflict', core.replaceNamespacedConfigMap({ name: 'one', namespace, body: made }));
        const invalid = await refused(422, 'Invalid', core.createNamespacedConfigMap({ namespace, body: configMap('Not A Name') }));
        assert.equal(invalid.details.causes[0].field, 'metadata.name');
    },

    async 'patches in every way'() {
        const patch = (type, body, name = 'one') =>
            core.patchNamespacedConfigMap({ name, namespace, body, fieldManager: 'js' }, as(type));
        const { JsonPatch, MergePatch, StrategicMergePatch, ServerSideApply } = k8s.PatchStrategy;
        assert.equal((await patch(JsonPatch, [{ op: 'replace', path: '/data/a', value: 'j' }])).data.a, 'j');
        assert.deepEqual((await patch(MergePatch, { data: { a: null } })).data, { b: '2' });
        assert.deepEqual((await patch(StrategicMergePatch, { data: { c: '3' } })).data, { b: '2', c: '3' });
        const applied = await patch(ServerSideApply, configMap('applied', { a: '1' }), 'applied');
        assert.deepEqual(applied.metadata.managedFields.map((it) => [it.manager, it.operation]), [['js', 'Apply']]);
        const other = { name: 'applied', namespace, body: configMap('applied', { a: '2' }), fieldManager: 'other' };
        const conflict = await refused(409, 'Conflict', core.patchNamespacedConfigMap(other, as(ServerSideApply)));
        assert.equal(conflict.details.causes[0].field, '.data.a');
        const forced = await core.patchNamespacedConfigMap({ ...other, force: true }, as(ServerSideApply));
        assert.equal(forced.data.a, '2');
    },

    async 'does the same to whatever kind it is told'() {
        const objects = k8s.KubernetesObjectApi.makeApiClient(config);
        const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'busybox' }] } };
        const spec = { replicas: 1, selector: { matchLabels: labels }, template };
        const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'generic', namespace }, spec };
        await objects.create(deployment);
        const strategic = { ...deployment, spec: { template: { spec: { containers: [{ name: 'd', image: 'busybox' }] } } } };
        const patched = await objects.patch(strategic);
        assert.deepEqual(patched.spec.template.spec.containers.map((it) => it.name).sort(), ['c', 'd']);
        const listed = await objects.list('apps/v1', 'Deployment', namespace);
        assert.deepEqual(listed.items.map((it) => it.metadata.name), ['generic']);
        const scale = await apps.readNamespacedDeploymentScale({ name: 'generic', namespace });
        scale.spec.replicas = 3;
        await apps.replaceNamespacedDeploymentScale({ name: 'generic', namespace, body: scale });
        assert.equal((await apps.readNamespacedDeployment({ name: 'generic', namespace })).spec.replicas, 3);
        await objects.delete(deployment);
    },

    async 'lists in pages and by selectors'() {
        for (let n = 0; n < 7; n++) await core.createNamespacedConfigMap({ namespace, body: configMap(`page-${n}`, { n: `${n}` }) });
        const names = [];
        let _continue;
        do {
            const page = await core.listNamespacedConfigMap({ namespace, labelSelector, limit: 3, _continue });
            names.push(...page.items.map((item) => item.metadata.name));
            _continue = page.metadata._continue;
        } while (_continue);
        assert.equal(names.length, 9);
        assert.deepEqual(names, [...names].sort());
        const one = await core.listNamespacedConfigMap({ namespace, fieldSelector: 'metadata.name=page-3' });
        assert.equal(one.items.length, 1);
    },

    async 'watches and takes up where it was'() {
        const { resourceVersion } = (await core.listNamespacedConfigMap({ namespace })).metadata;
        await core.createNamespacedConfigMap({ namespace, body: configMap('watched', { a: '1' }) });
        await core.patchNamespacedConfigMap({ name: 'watched', namespace, body: { data: { a: '2' } } }, as(k8s.PatchStrategy.MergePatch));
        await core.deleteNamespacedConfigMap({ name: 'watched', namespace });
        const seen = [];
        await watch({ resourceVersion, labelSelector, timeoutSeconds: 1 }, (type, object) => seen.push([type, object.data.a]));
        assert.deepEqual(seen, [['ADDED', '1'], ['MODIFIED', '2'], ['DELETED', '2']]);
    },

    async 'hears the beginning from a watch'() {
        const names = [];
        const query = { labelSelector, sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan', allowWatchBookmarks: true, timeoutSeconds: 1 };
        let end;
        await watch(query, (type, object) => {
            if (type === 'ADDED' && !end) names.push(object.metadata.name);
            if (type === 'BOOKMARK') end ??= object.metadata.annotations;
        });
        assert.deepEqual(end, { 'k8s.io/initial-events-end': 'true' });
        const listed = await core.listNamespacedConfigMap({ namespace, labelSelector });
        assert.deepEqual(names, listed.items.map((item) => item.metadata.name));
    },

    async 'keeps a cache'() {
        const list = () => core.listNamespacedConfigMap({ namespace, labelSelector });
        const informer = k8s.makeInformer(config, path, list, labelSelector);
        const seen = [];
        for (const verb of ['add', 'update', 'delete']) informer.on(verb, (object) => seen.push(`${verb} ${object.metadata.name}`));
        await informer.start();
        await eventually('what is there already', () => informer.get('page-0', namespace));
        await core.createNamespacedConfigMap({ namespace, body: configMap('cached', { a: '1' }) });
        await eventually('a new one', () => seen.includes('add cached'));
        await core.patchNamespacedConfigMap({ name: 'cached', namespace, body: { data: { a: '2' } } }, as(k8s.PatchStrategy.MergePatch));
        await eventually('its change', () => informer.get('cached', namespace).data.a === '2');
        await core.deleteNamespacedConfigMap({ name: 'cached', namespace });
        await eventually('its end', () => seen.includes('delete cached') && !informer.get('cached', namespace));
        await informer.stop();
    },

    async 'uses an account and its token'() {
        await core.createNamespacedServiceAccount({ namespace, body: { metadata: { name: 'robot' } } });
        const body = { spec: { audiences: [], expirationSeconds: 3600 } };
        const issued = await core.createNamespacedServiceAccountToken({ name: 'robot', namespace, body });
        const robot = new k8s.KubeConfig();
        robot.loadFromClusterAndUser(config.getCurrentCluster(), { name: 'robot', token: issued.status.token });
        const me = await robot.makeApiClient(k8s.AuthenticationV1Api).createSelfSubjectReview({ body: {} });
        assert.equal(me.status.userInfo.username, `system:serviceaccount:${namespace}:robot`);
        await refused(403, 'Forbidden', robot.makeApiClient(k8s.CoreV1Api).listNamespacedSecret({ namespace }));
    },

    async 'defines kinds'() {
        const definitions = config.makeApiClient(k8s.ApiextensionsV1Api);
        const custom = config.makeApiClient(k8s.CustomObjectsApi);
        const properties = { spec: { type: 'object', properties: { size: { type: 'integer', minimum: 1 } } } };
        const version = { name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object', properties } } };
        const names = { plural: 'beans', singular: 'bean', kind: 'Bean', listKind: 'BeanList' };
        const spec = { group: 'javascript.example', scope: 'Namespaced', names, versions: [version] };
        const name = 'beans.javascript.example';
        await definitions.createCustomResourceDefinition({ body: { metadata: { name }, spec } });
        await eventually('the definition holds', async () => {
            const { status } = await definitions.readCustomResourceDefinition({ name });
            return status?.conditions?.some((it) => it.type === 'Established' && it.status === 'True');
        });
        const at = { group: 'javascript.example', version: 'v1', namespace, plural: 'beans' };
        const bean = (size) => ({ apiVersion: 'javascript.example/v1', kind: 'Bean', metadata: { name: 'kidney' }, spec: { size } });
        await refused(422, 'Invalid', custom.createNamespacedCustomObject({ ...at, body: bean(0) }));
        await custom.createNamespacedCustomObject({ ...at, body: bean(2) });
        const listed = await custom.listNamespacedCustomObject(at);
        assert.equal(listed.items[0].spec.size, 2);
        await definitions.deleteCustomResourceDefinition({ name });
    },

    async 'removes what it made'() {
        await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector });
        assert.equal((await core.listNamespacedConfigMap({ namespace, labelSelector })).items.length, 0);
        await core.deleteNamespace({ name: namespace });
        await eventually('the namespace is gone', async () =>
            (await core.listNamespace()).items.every((item) => item.metadata.name !== namespace));
    },
};

function watch(query, onEvent) {
    return new Promise((resolve, reject) => {
        const done = (error) => (error && error !== k8s.Watch.SERVER_SIDE_CLOSE ? reject(error) : resolve());
        new k8s.Watch(config).watch(path, query, onEvent, done).catch(reject);
    });
}

async function cat(space, name, path) {
    const out = new PassThrough();
    let said = '';
    out.on('data', (data) => (said += data));
    await new Promise((resolve, reject) => {
        new k8s.Exec(config).exec(space, name, '', ['cat', path], out, null, null, false, resolve).catch(reject);
    });
    return said;
}

const withAPod = {
    async 'runs a program in it'(space, name) {
        const [out, err, typed] = [new PassThrough(), new PassThrough(), new PassThrough()];
        const said = { out: '', err: '' };
        out.on('data', (data) => (said.out += data));
        err.on('data', (data) => (said.err += data));
        const status = await new Promise((resolve, reject) => {
            const command = ['sh', '-c', 'echo out; echo err >&2; read line; echo "$line"; exit 3'];
            new k8s.Exec(config).exec(space, name, '', command, out, err, typed, false, resolve).catch(reject);
            typed.write('typed\n');
        });
        assert.equal(said.out, 'out\ntyped\n');
        assert.equal(said.err, 'err\n');
        assert.equal(status.details.causes[0].message, '3');
    },

    // Not back: this client asks for a packed archive and reads it as an unpacked one.
    async 'copies into it'(space, name) {
        const from = await mkdtemp(join(tmpdir(), 'copied-'));
        try {
            await writeFile(join(from, 'note'), 'carried');
            await new k8s.Cp(config).cpToPod(space, name, 'web', from, '/tmp');
            await eventually('the file in the pod', async () => (await cat(space, name, '/tmp/note')) === 'carried');
        } finally {
            await rm(from, { recursive: true });
        }
    },

    async 'follows its log'(space, name) {
        const log = new PassThrough();
        let said = '';
        log.on('data', (data) => (said += data));
        const stop = await new k8s.Log(config).log(space, name, '', log, { follow: true });
        await eventually('its first line', () => said.includes('started'));
        stop.abort();
    },

    async 'forwards a port and is its proxy'(space, name) {
        const [input, output] = [new PassThrough(), new PassThrough()];
        let said = '';
        output.on('data', (data) => (said += data));
        const socket = await new k8s.PortForward(config).portForward(space, name, [8080], output, null, input);
        input.write('GET / HTTP/1.0\r\n\r\n');
        await eventually('an answer', () => said.endsWith('hello\n'));
        socket.close();
        const page = await core.connectGetNamespacedPodProxyWithPath({ namespace: space, name: `${name}:8080`, path: 'index.html' });
        assert.match(page, /hello/);
    },
};

const [space, name] = (pod ?? '').split('/');
for (const [what, does] of Object.entries(pod ? withAPod : withoutANode)) {
    console.log('javascript:', what);
    await does(space, name);
}
console.log('javascript: all of it holds');
process.exit(0);
