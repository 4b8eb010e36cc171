"""Runner for ALiBi slopes, distance biases and their gathering on kept positions."""

from data2vec.nn.alibi import Alibi, alibi_bias, alibi_slopes, grid_coordinates, sequence_coordinates

from ..compare import Case


def run(case: Case) -> None:
    """Every head count of the case, on a line and on a grid, then scaled and gathered."""
    line, grid = sequence_coordinates(case.config["max_positions"]), grid_coordinates(case.config["grid"])
    for heads in case.config["heads"]:
        slopes = alibi_slopes(heads)
        case.check(f"slopes/heads{heads}", slopes)
        case.check(f"bias_1d/heads{heads}", alibi_bias(line, slopes))
        for metric in ("manhattan", "euclidean"):
            case.check(f"bias_2d_{metric}/heads{heads}", alibi_bias(grid, slopes, metric=metric))
    gather = case.group("gather/")
    alibi = Alibi(case.config["heads"][0])
    alibi.scale.data.copy_(gather["scale_raw"])
    bias = alibi(case.config["max_positions"], gather["ids_keep"])
    case.check("gather/bias_scaled_and_gathered", bias)
    case.ignore("gather/ids_keep", "an input")
    case.ignore("gather/scale_raw", "an input")


KINDS = {"alibi": run}
