"""Memory errors, replaced rows and clocks held back, in the outputs of nvidia-smi -q and -q -x."""

from gpudoctor.facts.nvidia_smi import read_nvidia_smi

REPORT = """
==============NVSMI LOG==============

Driver Version                            : 580.95.05
CUDA Version                              : 13.0

Attached GPUs                             : 1
GPU 00000000:10:1C.0
    Product Name                          : NVIDIA A100-SXM4-80GB
    Clocks Event Reasons
        Idle                              : Not Active
        Applications Clocks Setting       : Not Active
        SW Power Cap                      : Not Active
        HW Slowdown                       : Active
            HW Thermal Slowdown           : Active
            HW Power Brake Slowdown       : Not Active
        Sync Boost                        : Not Active
        SW Thermal Slowdown               : Not Active
    Utilization
        GPU                               : 97 %
        Memory                            : 40 %
    ECC Errors
        Volatile
            SRAM Correctable              : 0
            SRAM Uncorrectable            : 0
            DRAM Correctable              : 177
            DRAM Uncorrectable            : 2
        Aggregate
            SRAM Correctable              : 0
            SRAM Uncorrectable            : 0
            DRAM Correctable              : 177
            DRAM Uncorrectable            : 5
    Retired Pages
        Single Bit ECC                    : N/A
        Double Bit ECC                    : N/A
        Pending Page Blacklist            : N/A
    Remapped Rows
        Correctable Error                 : 1
        Uncorrectable Error               : 0
        Pending                           : Yes
        Remapping Failure Occurred        : No
        Bank Remap Availability Histogram
            Max                           : 639 bank(s)
    GPU Power Readings
        Average Power Draw                : 390.12 W
        Current Power Limit               : 400.00 W
        Default Power Limit               : 400.00 W
"""

XML = """<?xml version="1.0" ?>
<nvidia_smi_log>
<driver_version>570.133.20</driver_version>
<attached_gpus>2</attached_gpus>
<gpu id="00000000:19:00.0">
<product_name>NVIDIA H100 80GB HBM3</product_name>
<ecc_errors><volatile><sram_correctable>0</sram_correctable><sram_uncorrectable_parity>1</sram_uncorrectable_parity>
<sram_uncorrectable_secded>0</sram_uncorrectable_secded><dram_uncorrectable>0</dram_uncorrectable></volatile>
<aggregate><dram_uncorrectable>9</dram_uncorrectable></aggregate></ecc_errors>
<retired_pages><pending_blacklist>N/A</pending_blacklist><pending_retirement>N/A</pending_retirement></retired_pages>
<remapped_rows><remapped_row_corr>0</remapped_row_corr><remapped_row_unc>8</remapped_row_unc>
<remapped_row_pending>No</remapped_row_pending><remapped_row_failure>Yes</remapped_row_failure></remapped_rows>
<clocks_event_reasons><clocks_event_reason_gpu_idle>Active</clocks_event_reason_gpu_idle>
<clocks_event_reason_hw_thermal_slowdown>Not Active</clocks_event_reason_hw_thermal_slowdown></clocks_event_reasons>
<utilization><gpu_util>0 %</gpu_util></utilization>
</gpu>
<gpu id="00000000:3b:00.0">
<product_name>Tesla V100-SXM2-16GB</product_name>
<ecc_errors><volatile><double_bit><device_memory>0</device_memory><total>0</total></double_bit></volatile></ecc_errors>
<retired_pages><pending_retirement>Yes</pending_retirement></retired_pages>
<remapped_rows>N/A</remapped_rows>
<clocks_throttle_reasons><clocks_throttle_reason_sw_power_cap>Active</clocks_throttle_reason_sw_power_cap>
</clocks_throttle_reasons>
</gpu>
<gpu id="00000000:5e:00.0">
<product_name>NVIDIA GeForce RTX 4090</product_name>
<ecc_errors><volatile><dram_uncorrectable>N/A</dram_uncorrectable></volatile></ecc_errors>
<remapped_rows><remapped_row_pending>N/A</remapped_row_pending></remapped_rows>
<utilization><gpu_util>N/A</gpu_util></utilization>
</gpu>
</nvidia_smi_log>
"""


def test_the_report_for_people() -> None:
    [gpu] = read_nvidia_smi(REPORT, 0).gpus
    assert gpu.values["ecc_uncorrected_volatile"] == 2
    rows = {"correctable": 1, "uncorrectable": 0, "pending": True, "failed": False}
    assert gpu.values["remapped_rows"] == rows
    assert gpu.values["clocks_event_reasons"] == 0x48
    assert gpu.values["clocks_event_reason_names"] == ["HwSlowdown", "HwThermalSlowdown"]
    assert gpu.values["utilization_percent"] == 97
    assert (gpu.values["power_limit_w"], gpu.values["power_limit_default_w"]) == (400.0, 400.0)
    assert "retired_pages_pending" not in gpu.values
    assert not any(":" in field for field in gpu.values)
    assert gpu.field_errors == {}


def test_the_report_for_programs() -> None:
    h100, v100, rtx = (gpu.values for gpu in read_nvidia_smi(XML, 0).gpus)
    assert h100["ecc_uncorrected_volatile"] == 1
    assert h100["remapped_rows"] == {"correctable": 0, "uncorrectable": 8, "pending": False, "failed": True}
    assert h100["clocks_event_reasons"] == 0x1
    assert h100["utilization_percent"] == 0
    assert (v100["ecc_uncorrected_volatile"], v100["retired_pages_pending"]) == (0, True)
    assert v100["clocks_event_reasons"] == 0x4
    told = {"ecc_uncorrected_volatile", "remapped_rows", "clocks_event_reasons", "utilization_percent"}
    assert told & rtx.keys() == set()


def test_an_error_in_place_of_a_count_is_sickness() -> None:
    [gpu] = read_nvidia_smi(
        REPORT.replace("DRAM Uncorrectable            : 2", "DRAM Uncorrectable : Unknown Error"), 0
    ).gpus
    assert "ecc_errors/volatile/dram_uncorrectable" in gpu.field_errors
