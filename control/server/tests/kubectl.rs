//! The real kubectl, of PATH or of the tools tree, does what people do with it.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use cluster::kubectl::Kubectl;
use cluster::{Cluster, get, text};

const MANIFEST: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  color: COLOR
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  containers:
  - name: web
    image: busybox:COLOR
    ports: [{containerPort: 80}]
    resources: {limits: {cpu: 500m, memory: 64Mi}}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_apply_look_change_and_delete() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let version = kubectl.run("version", "").await;
    assert!(version.contains("Server Version: v1.36.0+pintle"), "{version}");
    let resources = kubectl.run("api-resources", "").await;
    assert!(
        resources.contains("pods") && resources.contains("coordination.k8s.io/v1"),
        "{resources}"
    );

    let made = kubectl.run("apply -f -", &MANIFEST.replace("COLOR", "blue")).await;
    assert!(
        made.contains("configmap/settings created") && made.contains("pod/web created"),
        "{made}"
    );
    let again = kubectl.run("apply -f -", &MANIFEST.replace("COLOR", "blue")).await;
    assert!(
        again.contains("configmap/settings unchanged") && again.contains("pod/web unchanged"),
        "{again}"
    );
    let changed = kubectl.run("apply -f -", &MANIFEST.replace("COLOR", "red")).await;
    assert!(
        changed.contains("configmap/settings configured") && changed.contains("pod/web configured"),
        "{changed}"
    );
    assert_eq!(
        kubectl.run("get cm settings -o jsonpath={.data.color}", "").await,
        "red"
    );

    let pods = kubectl.run("get pods -o wide --show-labels", "").await;
    assert!(
        pods.starts_with("NAME") && pods.contains("web") && pods.contains("Pending") && pods.contains("app=web"),
        "{pods}"
    );
    let described = kubectl.run("describe pod web", "").await;
    assert!(
        described.contains("Image:") && described.contains("busybox:red"),
        "{described}"
    );
    kubectl.run("label pod web tier=front", "").await;
    kubectl.run("annotate cm settings a=b", "").await;
    assert!(
        kubectl
            .run("get pods -l tier=front -o name", "")
            .await
            .contains("pod/web")
    );
    kubectl
        .run("patch cm settings --type=merge -p {\"data\":{\"size\":\"1\"}}", "")
        .await;
    assert_eq!(kubectl.run("get cm settings -o jsonpath={.data.size}", "").await, "1");
    kubectl.run("create namespace team", "").await;
    kubectl
        .run("-n team create secret generic s --from-literal=k=v", "")
        .await;
    assert_eq!(
        kubectl.run("-n team get secret s -o jsonpath={.data.k}", "").await,
        "dg=="
    );
    assert!(kubectl.run("explain pod.spec.containers", "").await.contains("FIELD"));
    kubectl.run("diff -f -", &MANIFEST.replace("COLOR", "red")).await;

    let gone = kubectl.run("delete pod web --wait=true --timeout=20s", "").await;
    assert!(gone.contains("pod \"web\" deleted"), "{gone}");
    kubectl.run("delete cm --all", "").await;
    let admin = cluster.admin();
    assert_eq!(
        get(&admin, "/api/v1/configmaps").await.body["items"]
            .as_array()
            .map(Vec::len),
        Some(0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_explained() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let missing = kubectl.fail("get pod nothing", "").await;
    assert_eq!(
        missing.trim(),
        "Error from server (NotFound): pods \"nothing\" not found"
    );
    let typo = kubectl
        .fail(
            "apply -f -",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatta: {}\n",
        )
        .await;
    assert!(typo.contains("unknown field \"datta\""), "{typo}");
    let bad = kubectl.fail("run p --image=busybox --restart=Sometimes", "").await;
    assert!(!bad.is_empty());
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c}]}\n";
    let invalid = kubectl.fail("create -f -", pod).await;
    assert!(
        invalid.contains("Pod \"p\" is invalid: spec.containers[0].image: Required value"),
        "{invalid}"
    );
    kubectl.run("run lonely --image=busybox", "").await;
    let unbound = kubectl.fail("exec lonely -- ls", "").await;
    assert!(
        unbound.contains("pod lonely does not have a host assigned"),
        "{unbound}"
    );
    let list = get(&cluster.admin(), "/api/v1/namespaces/default/pods").await;
    assert_eq!(text(&list.body, "/items/0/metadata/name"), "lonely");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_apply_from_either_side() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let blue = &MANIFEST.replace("COLOR", "blue");
    let made = kubectl.run("apply --server-side -f -", blue).await;
    assert!(
        made.contains("configmap/settings serverside-applied") && made.contains("pod/web serverside-applied"),
        "{made}"
    );
    let owner =
        "get cm settings -o jsonpath={.metadata.managedFields[*].manager}/{.metadata.managedFields[*].operation}";
    assert_eq!(kubectl.run(owner, "").await, "kubectl/Apply");
    kubectl.run("diff --server-side -f -", blue).await;
    let refused = kubectl
        .fail(
            "apply --server-side --field-manager=other -f -",
            &blue.replace("blue", "red"),
        )
        .await;
    assert!(
        refused.contains("Apply failed with 1 conflict: conflict with \"kubectl\": .data.color"),
        "{refused}"
    );
    kubectl
        .run(
            "apply --server-side --field-manager=other --force-conflicts -f -",
            &blue.replace("blue", "red"),
        )
        .await;
    assert_eq!(
        kubectl.run("get cm settings -o jsonpath={.data.color}", "").await,
        "red"
    );
    kubectl.run("delete cm settings", "").await;
    kubectl.run("delete pod web --wait=true --timeout=20s", "").await;

    // What client-side apply made is taken over without a conflict, and goes on from either side.
    kubectl.run("apply -f -", blue).await;
    let differs = kubectl.fail("diff -f -", &blue.replace("blue", "green")).await;
    assert!(!differs.contains("error"), "{differs}");
    let upgraded = kubectl
        .run("apply --server-side -f -", &blue.replace("blue", "green"))
        .await;
    assert!(upgraded.contains("configmap/settings serverside-applied"), "{upgraded}");
    // Beside itself kubectl names the owner of the annotation that it keeps for client-side apply.
    assert_eq!(kubectl.run(owner, "").await, "kubectl kubectl-last-applied/Apply Apply");
    // The first client-side apply after it writes its annotation anew.
    kubectl.run("apply -f -", &blue.replace("blue", "green")).await;
    let again = kubectl.run("apply -f -", &blue.replace("blue", "green")).await;
    assert!(again.contains("configmap/settings unchanged"), "{again}");
    let typo = kubectl
        .fail(
            "apply --server-side -f -",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatta: {}\n",
        )
        .await;
    assert!(typo.contains("datta"), "{typo}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_grant_ask_and_act_as_others() {
    let cluster = Cluster::with_policy().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl
        .run("create role reader --verb=get,list --resource=pods", "")
        .await;
    kubectl
        .run("create rolebinding readers --role=reader --user=bob", "")
        .await;
    kubectl
        .run(
            "create clusterrolebinding auditors --clusterrole=view --group=audit",
            "",
        )
        .await;
    assert_eq!(kubectl.run("auth can-i list pods --as=bob", "").await, "yes\n");
    assert_eq!(
        kubectl.output("auth can-i delete pods --as=bob", "").await.stdout,
        b"no\n"
    );
    let list = kubectl.run("auth can-i --list --as=bob", "").await;
    assert!(
        list.contains("pods") && list.contains("selfsubjectaccessreviews"),
        "{list}"
    );
    let who = kubectl.run("auth whoami --as=bob --as-group=dev", "").await;
    assert!(who.contains("bob") && who.contains("system:authenticated"), "{who}");
    let refused = kubectl.fail("get secrets --as=bob", "").await;
    assert!(
        refused.contains(
            "Error from server (Forbidden): secrets is forbidden: User \"bob\" cannot list resource \"secrets\" in API group \"\" in the namespace \"default\""
        ),
        "{refused}"
    );
    let bindings = kubectl.run("get rolebindings -o wide", "").await;
    assert!(
        bindings.contains("Role/reader") && bindings.contains("bob"),
        "{bindings}"
    );
    assert!(kubectl.run("get clusterroles", "").await.contains("CREATED AT"));
    let described = kubectl.run("describe clusterrole system:discovery", "").await;
    assert!(described.contains("/openapi/*"), "{described}");

    kubectl.run("create serviceaccount robot", "").await;
    let token = kubectl.run("create token robot --duration=20m", "").await;
    let token = token.trim();
    assert_eq!(token.split('.').count(), 3, "{token}");
    let ca = cluster.folder.path().join("ca.pem");
    std::fs::write(&ca, &cluster.bundle.cluster_ca.certificate).unwrap();
    let server = format!("https://{}", cluster.address);
    let alone = cluster.folder.path().join("none");
    std::fs::write(&alone, "").unwrap();
    let robot = Kubectl {
        program: kubectl.program.clone(),
        kubeconfig: alone,
    };
    let with = format!(
        "--server={server} --certificate-authority={} --token={token}",
        ca.display()
    );
    let who = robot.run(&format!("auth whoami {with}"), "").await;
    assert!(who.contains("system:serviceaccount:default:robot"), "{who}");
    let refused = robot.fail(&format!("get pods {with}"), "").await;
    assert!(refused.contains("system:serviceaccount:default:robot"), "{refused}");
    let refused = robot.fail(&format!("get pods {with}x"), "").await;
    assert!(refused.contains("You must be logged in to the server"), "{refused}");

    kubectl.run("apply -f -", REQUEST).await;
    assert!(kubectl.run("get csr", "").await.contains("Pending"));
    kubectl.run("certificate approve alice", "").await;
    let listed = kubectl.run("get csr alice", "").await;
    assert!(
        listed.contains("Approved") && listed.contains("kubernetes-admin"),
        "{listed}"
    );
}

/// A request whose content no signer has looked at.
const REQUEST: &str = "apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata:
  name: alice
spec:
  request: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUFBPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K
  signerName: kubernetes.io/kube-apiserver-client
  expirationSeconds: 86400
  usages: [client auth]
";

/// Whether a line of a table holds these words in this order.
fn has_row(table: &str, words: &[&str]) -> bool {
    table.lines().any(|line| {
        let mut cells = line.split_whitespace();
        words.iter().all(|word| cells.any(|cell| cell == *word))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_make_look_at_and_scale_deployments() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl
        .run("create deployment web --image=registry.local/web:1 --replicas=2", "")
        .await;
    let wide = kubectl.run("get deployments -o wide", "").await;
    assert!(
        has_row(
            &wide,
            &[
                "NAME",
                "READY",
                "UP-TO-DATE",
                "AVAILABLE",
                "AGE",
                "CONTAINERS",
                "IMAGES",
                "SELECTOR"
            ]
        ),
        "{wide}"
    );
    assert!(
        has_row(
            &wide,
            &["web", "0/2", "0", "0", "web", "registry.local/web:1", "app=web"]
        ),
        "{wide}"
    );
    kubectl
        .run("scale deployment web --replicas=3 --current-replicas=2", "")
        .await;
    assert_eq!(
        kubectl.run("get deployment web -o jsonpath={.spec.replicas}", "").await,
        "3"
    );
    kubectl
        .run("set image deployment/web web=registry.local/web:2", "")
        .await;
    let described = kubectl.run("describe deployment web", "").await;
    assert!(
        described.contains("3 desired") && described.contains("registry.local/web:2"),
        "{described}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_autoscale_deployments() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl
        .run("create deployment web --image=registry.local/web:1 --replicas=2", "")
        .await;
    kubectl
        .run("autoscale deployment web --min=1 --max=4 --cpu-percent=50", "")
        .await;
    let scaled = kubectl.run("get hpa", "").await;
    assert!(
        has_row(
            &scaled,
            &["web", "Deployment/web", "cpu:", "<unknown>/50%", "1", "4", "0"]
        ),
        "{scaled}"
    );
    kubectl.run("describe hpa web", "").await;
    // By the short name kubectl 1.32 asks for the preferred version, whatever version stands behind it.
    let old = kubectl
        .run(
            "get horizontalpodautoscalers.v1.autoscaling web -o jsonpath={.spec.targetCPUUtilizationPercentage}",
            "",
        )
        .await;
    assert_eq!(old, "50");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_make_and_look_at_jobs() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl.run("create job once --image=registry.local/job:1", "").await;
    let jobs = kubectl.run("get jobs -o wide", "").await;
    assert!(
        has_row(&jobs, &["once", "Running", "0/1", "once", "registry.local/job:1"]),
        "{jobs}"
    );
    kubectl.run("describe job once", "").await;
    kubectl
        .run(
            "create cronjob nightly --image=registry.local/job:1 --schedule=@daily",
            "",
        )
        .await;
    let crons = kubectl.run("get cronjobs", "").await;
    assert!(
        has_row(&crons, &["nightly", "@daily", "<none>", "False", "0", "<none>"]),
        "{crons}"
    );
    kubectl.run("create job now --from=cronjob/nightly", "").await;
    kubectl.run("describe cronjob nightly", "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_set_quotas_and_budgets() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl
        .run("create quota few --hard=configmaps=30,limits.cpu=2", "")
        .await;
    kubectl.run("get quota", "").await;
    kubectl.run("describe quota few", "").await;
    kubectl
        .run("create pdb calm --selector=app=web --min-available=50%", "")
        .await;
    let budgets = kubectl.run("get pdb", "").await;
    assert!(has_row(&budgets, &["calm", "50%", "N/A", "0"]), "{budgets}");
    kubectl.run("describe pdb calm", "").await;
    kubectl.run("delete quota,pdb --all", "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_look_at_everything_and_delete_it() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    for command in [
        "create deployment web --image=registry.local/web:1 --replicas=2",
        "autoscale deployment web --min=1 --max=4 --cpu-percent=50",
        "create job once --image=registry.local/job:1",
        "create cronjob nightly --image=registry.local/job:1 --schedule=@daily",
    ] {
        kubectl.run(command, "").await;
    }
    let all = kubectl.run("get all -A -o wide", "").await;
    for row in [
        "deployment.apps/web",
        "horizontalpodautoscaler.autoscaling/web",
        "job.batch/once",
        "cronjob.batch/nightly",
    ] {
        assert!(all.contains(row), "{row}: {all}");
    }
    kubectl
        .run("delete deployment,job,cronjob,hpa --all --cascade=background", "")
        .await;
}
