"""Fine-tuning heads on text: features, logits, loss, gradients."""

from data2vec.config import RunConfig, validate
from data2vec.data.vocabulary import PAD
from data2vec.downstream.sentence import SentenceClassifier, sentence_loss
from data2vec.interop.names import V2, Rule, translate, v1_text, within
from data2vec.methods.build import build_encoder
from golden.kinds.pretraining import check_gradients, strip
from golden.kinds.text1 import run_config as v1_config
from golden.kinds.v2 import text_sections

HEAD: list[Rule] = [(r"classification_heads\.\w+\.(dense|out_proj)\.(.*)", r"\1.\2")]


def v2_config(c: dict) -> RunConfig:
    m = c["model"]
    e = {"max_source_positions": 512} | m["modalities"]["text"]
    sections = text_sections(e)
    return validate(
        sections
        | {
            "method": "data2vec2",
            "data": {"vocab_size": c["n_words"] + 5},
            "model": {
                "dim": m["embed_dim"],
                "depth": m["depth"],
                "heads": m["num_heads"],
                "prenet_depth": e["prenet_depth"],
                "mlp_ratio": m["mlp_ratio"],
                "norm_eps": m["norm_eps"],
                "extra_tokens": e.get("num_extra_tokens", 0),
            }
            | sections["model"],
            "target": {"top_k": 1},
        }
    )


def run(case, config: RunConfig, rules: list[Rule]) -> None:
    t = case.tensors
    model = SentenceClassifier(config, build_encoder(config), case.config["num_classes"])
    parameters = dict(model.named_parameters())
    weights = translate(strip(t, "weights/"), rules, parameters)
    model.load_state_dict(weights)
    model.eval()  # dropouts are off
    tokens = t["in/source"]
    assert ((tokens == PAD) == t["in/padding_mask"]).all()
    if "out/features" in t:
        case.check("out/features", model.encoder(tokens, tokens == PAD).x)
    logits = model(tokens)
    case.check("out/logits", logits)
    loss = sentence_loss(logits, t["in/labels"]).sum()
    case.check("out/loss", loss)
    loss.backward()
    check_gradients(model, case, rules)


def run_v1(case) -> None:
    config = v1_config(case.config, case.config["n_words"] + 5)
    run(case, config, [*HEAD, *v1_text(config.model.head_layers)])


def run_v2(case) -> None:
    run(case, v2_config(case.config), [*HEAD, *within(r"model\.", V2)])


KINDS = {"ft_text_v1": run_v1, "ft_text_v2": run_v2}
