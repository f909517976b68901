// Reads manifests from standard input and decodes those of other projects into these projects' own types, strictly: a field
// that they do not have, or have in another type, is a fault. Prints one line for each fault, and how many were decoded.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"

	certificates "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	manifests "k8s.io/apimachinery/pkg/util/yaml"
	gateways "sigs.k8s.io/gateway-api/apis/v1"
	early "sigs.k8s.io/gateway-api/apis/v1alpha2"
	"sigs.k8s.io/yaml"
)

func kind(of meta.TypeMeta) any {
	switch of.APIVersion + " " + of.Kind {
	case "cert-manager.io/v1 Certificate":
		return &certificates.Certificate{}
	case "gateway.networking.k8s.io/v1 HTTPRoute":
		return &gateways.HTTPRoute{}
	case "gateway.networking.k8s.io/v1alpha2 TLSRoute":
		return &early.TLSRoute{}
	case "monitoring.coreos.com/v1 PrometheusRule":
		return &monitoring.PrometheusRule{}
	case "monitoring.coreos.com/v1 ServiceMonitor":
		return &monitoring.ServiceMonitor{}
	}
	return nil
}

func main() {
	documents := manifests.NewYAMLReader(bufio.NewReader(os.Stdin))
	decoded, faults := 0, 0
	for {
		document, err := documents.Read()
		if err == io.EOF {
			break
		}
		var of meta.TypeMeta
		if err == nil {
			err = yaml.Unmarshal(document, &of)
		}
		if into := kind(of); err == nil && into != nil {
			decoded++
			err = yaml.UnmarshalStrict(document, into)
		}
		if err != nil {
			faults++
			fmt.Printf("%s: %v\n", of.Kind, err)
		}
	}
	fmt.Println(decoded, "decoded")
	if faults > 0 {
		os.Exit(1)
	}
}
