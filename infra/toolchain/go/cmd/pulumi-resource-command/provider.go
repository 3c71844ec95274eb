// The gRPC face of the plugin: which call does what to which state. How a command runs is in run.go.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"math"
	"reflect"
	"strings"
	"sync"
	"time"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// version is that of the official plugin this one stands in for; the SDK asks for exactly it.
const version = "1.2.1"

// frameworkMarker is what the official plugin writes into the state of the default provider. Without it a stack would
// show a difference when it changes hands.
const (
	frameworkMarker  = "__pulumi-go-provider-version"
	frameworkVersion = "v1.5.0"
)

type provider struct {
	pulumirpc.UnimplementedResourceProviderServer

	mutex  sync.Mutex
	engine pulumirpc.EngineClient
	// acceptsBytes: the engine takes output that is not UTF-8.
	acceptsBytes bool
	// running is cancelled by Cancel, which ends the calls in flight; calls after it get a new one.
	running context.Context
	cancel  context.CancelFunc
}

func newProvider(engineAddress string) *provider {
	p := &provider{}
	p.running, p.cancel = context.WithCancel(context.Background())
	p.connect(engineAddress)
	return p
}

func (p *provider) connect(engineAddress string) {
	if engineAddress == "" {
		return
	}
	connection, err := grpc.NewClient(engineAddress, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(math.MaxInt32)))
	if err != nil {
		return // only log lines are lost
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.engine = pulumirpc.NewEngineClient(connection)
}

func (p *provider) Handshake(
	_ context.Context, req *pulumirpc.ProviderHandshakeRequest,
) (*pulumirpc.ProviderHandshakeResponse, error) {
	p.connect(req.EngineAddress)
	p.mutex.Lock()
	p.acceptsBytes = req.AcceptsByteString
	p.mutex.Unlock()
	return &pulumirpc.ProviderHandshakeResponse{
		AcceptSecrets: true, AcceptResources: true, AcceptOutputs: true, AcceptsByteString: true,
	}, nil
}

func (p *provider) Attach(_ context.Context, req *pulumirpc.PluginAttach) (*emptypb.Empty, error) {
	p.connect(req.Address)
	return &emptypb.Empty{}, nil
}

func (p *provider) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: version}, nil
}

func (p *provider) CheckConfig(_ context.Context, req *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	inputs := properties(req.News)
	inputs[frameworkMarker] = frameworkVersion
	wire, err := structpb.NewStruct(inputs)
	return &pulumirpc.CheckResponse{Inputs: wire}, err
}

func (p *provider) DiffConfig(context.Context, *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	return nil, status.Error(codes.Unimplemented, "DiffConfig is not implemented")
}

func (p *provider) Configure(
	context.Context, *pulumirpc.ConfigureRequest,
) (*pulumirpc.ConfigureResponse, error) {
	return &pulumirpc.ConfigureResponse{
		AcceptSecrets: true, SupportsPreview: true, AcceptResources: true, AcceptOutputs: true,
	}, nil
}

// Cancel ends dials and commands in flight with CANCELLED.
func (p *provider) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.cancel()
	p.running, p.cancel = context.WithCancel(context.Background())
	return &emptypb.Empty{}, nil
}

// begin gives what a call needs to run a command: its end (the engine's, Cancel's, or a custom timeout in seconds, 0 for
// none) and where to log.
func (p *provider) begin(
	call context.Context, urn string, timeout float64,
) (context.Context, context.CancelFunc, *logger) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	limited, free := p.running, context.CancelFunc(func() {})
	if timeout > 0 {
		limited, free = context.WithTimeout(p.running, time.Duration(timeout*float64(time.Second)))
	}
	ctx, cancel := context.WithCancel(limited)
	stop := context.AfterFunc(call, cancel)
	return ctx, func() { stop(); cancel(); free() }, newLogger(p.engine, urn)
}

// supported refuses every type but remote.Command, with a way out for those that the official plugin has.
func supported(urn string) error {
	parts := strings.Split(urn, "::")
	kind := ""
	if len(parts) >= 3 {
		types := strings.Split(parts[2], "$")
		kind = strings.TrimPrefix(types[len(types)-1], "command:")
	}
	switch kind {
	case "remote:Command":
		return nil
	case "local:Command", "remote:CopyToRemote", "remote:CopyFile":
		return status.Errorf(codes.Unimplemented, "Resource '%s' is not in the `command` plugin that hotpair builds for "+
			"networks without the vendor's download site: it has remote.Command alone. Install the official plugin: "+
			"pulumi plugin install resource command %s", kind, version)
	}
	return status.Errorf(codes.NotFound, "Resource '%s' not found", kind)
}

func (p *provider) Check(_ context.Context, req *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	if err := supported(req.Urn); err != nil {
		return nil, err
	}
	inputs, failures := check(properties(req.News))
	wire, err := structpb.NewStruct(inputs)
	return &pulumirpc.CheckResponse{Inputs: wire, Failures: failures}, err
}

func (p *provider) Diff(_ context.Context, req *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	if err := supported(req.Urn); err != nil {
		return nil, err
	}
	state, news := properties(req.Olds), properties(req.News)
	olds := properties(req.OldInputs)
	if req.OldInputs == nil {
		for name, value := range state {
			if isInput(name) {
				olds[name] = value
			}
		}
	}
	ignore(state, news, req.IgnoreChanges)
	return diff(olds, news), nil
}

// Read is an echo: nothing on the server is looked at.
func (p *provider) Read(_ context.Context, req *pulumirpc.ReadRequest) (*pulumirpc.ReadResponse, error) {
	if err := supported(req.Urn); err != nil {
		return nil, err
	}
	response := &pulumirpc.ReadResponse{Id: req.Id, Properties: req.Properties, Inputs: req.Inputs}
	if response.Properties == nil {
		response.Properties = &structpb.Struct{}
	}
	if response.Inputs == nil {
		response.Inputs = &structpb.Struct{}
	}
	return response, nil
}

func (p *provider) Create(ctx context.Context, req *pulumirpc.CreateRequest) (*pulumirpc.CreateResponse, error) {
	if err := supported(req.Urn); err != nil {
		return nil, err
	}
	id, err := newID(req.Urn)
	if err != nil {
		return nil, err
	}
	state := properties(req.Properties)
	state["stdout"], state["stderr"] = "", ""
	if req.Preview {
		state["stdout"], state["stderr"] = unknown, unknown
	} else if command, set := text(state, "create"); set {
		ctx, cancel, log := p.begin(ctx, req.Urn, req.Timeout)
		defer cancel()
		result, err := run(ctx, command, state, object{}, log)
		if err != nil {
			return nil, err
		}
		if err := p.acceptable(result); err != nil {
			return nil, err
		}
		state["stdout"], state["stderr"] = result.stdout, result.stderr
	}
	wire, err := structpb.NewStruct(state)
	return &pulumirpc.CreateResponse{Id: id, Properties: wire}, err
}

// acceptable refuses output that this engine could not store.
func (p *provider) acceptable(r *result) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, property := range []struct {
		name  string
		value any
	}{{"stdout", r.stdout}, {"stderr", r.stderr}} {
		if _, isText := property.value.(string); !isText && !p.acceptsBytes {
			return status.Errorf(codes.Unknown, "the value of property %q is a string that contains non-UTF8 bytes, "+
				"which the receiver does not support", property.name)
		}
	}
	return nil
}

// newID is the resource's name and 8 hexadecimal digits, without anything between.
func newID(urn string) (string, error) {
	random := make([]byte, 4)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	return urn[strings.LastIndex(urn, "::")+2:] + hex.EncodeToString(random), nil
}

func (p *provider) Update(ctx context.Context, req *pulumirpc.UpdateRequest) (*pulumirpc.UpdateResponse, error) {
	if err := supported(req.Urn); err != nil {
		return nil, err
	}
	previous, state := properties(req.Olds), properties(req.News)
	if err := stateProblem(previous); err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	ignore(previous, state, req.IgnoreChanges)
	stdout, stderr := reveal(previous["stdout"]), reveal(previous["stderr"])
	command, set := text(state, "update")
	if !set {
		command, set = text(state, "create")
	}
	if req.Preview {
		if outputUnknown(previous, state) {
			stdout, stderr = unknown, unknown
		}
	} else if set {
		ctx, cancel, log := p.begin(ctx, req.Urn, req.Timeout)
		defer cancel()
		result, err := run(ctx, command, state, previous, log)
		if err != nil {
			return nil, err
		}
		if err := p.acceptable(result); err != nil {
			return nil, err
		}
		stdout, stderr = result.stdout, result.stderr
	}
	state["stdout"], state["stderr"] = stdout, stderr
	wire, err := structpb.NewStruct(state)
	return &pulumirpc.UpdateResponse{Properties: wire}, err
}

// outputUnknown is the official plugin's rule for what a preview may show: the old output stays known unless an input
// is unknown, or one that the state has is another one now. An input that is merely new does not count.
func outputUnknown(previous, inputs object) bool {
	for _, f := range commandInputs {
		if reveal(inputs[f.name]) == unknown {
			return true
		}
		if old, had := previous[f.name]; had && !reflect.DeepEqual(old, inputs[f.name]) {
			return true
		}
	}
	return false
}

func (p *provider) Delete(ctx context.Context, req *pulumirpc.DeleteRequest) (*emptypb.Empty, error) {
	if err := supported(req.Urn); err != nil {
		return nil, err
	}
	state := properties(req.Properties)
	command, set := text(state, "delete")
	if !set {
		return &emptypb.Empty{}, nil
	}
	ctx, cancel, log := p.begin(ctx, req.Urn, req.Timeout)
	defer cancel()
	if _, err := run(ctx, command, state, state, log); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
